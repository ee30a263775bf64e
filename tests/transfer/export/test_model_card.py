"""Tests of transfer/export/model_card.py: what the card says is what the files say, and its metadata can be read."""

from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import ModelCard

from transfer.core.cards import Card
from transfer.core.spec import Spec
from transfer.export.contract import Contract
from transfer.export.model_card import PROGRAM, CardFigures, base_model, licence_metadata, model_card

CONTRACT = Contract(
    "head", ("no", "yes: <b>"), 32, 3, True, "Look at it.", 1, 0.75, "Pictures: many", "CC0: really", "somebody"
)
CARD = Card("Pictures: many", "CC0: really", "somebody", ("no", "yes: <b>"), "yes: <b>")
SPEC = Spec(CARD.classes, CARD.positive, "none", 32, 3, {"train": 1640, "validation": 328, "test": 656})
SCORES = {
    "precision": 0.61, "recall": 0.62, "precision_at_threshold": 0.63, "recall_at_threshold": 0.64, "threshold": 0.45,
    "log_loss_calibrated": 0.31, "ece_calibrated": 0.032,
}  # fmt: skip
COMPARE: dict[str, Any] = {
    "winner": "head",
    "intervals": {
        "cnn": {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "f1": 0.5, "auc": 0.5},
        "head": {
            "accuracy": 0.89, "accuracy_low": 0.87, "accuracy_high": 0.91, "f1": 0.8, "f1_low": 0.7, "f1_high": 0.85,
            "auc": 0.94, "auc_low": None, "auc_high": None,
        },
    },
    "subgroups": [
        {"model": "head", "column": "kind", "value": "0.3333333333333333", "images": 73, "accuracy": 0.8,
         "accuracy_low": 0.7, "accuracy_high": 0.9},
        {"model": "head", "column": "kind", "value": "1.0", "images": 83, "accuracy": 0.9,
         "accuracy_low": 0.8, "accuracy_high": 0.95},
        {"model": "cnn", "column": "kind", "value": "1.0", "images": 83, "accuracy": 0.1,
         "accuracy_low": 0.0, "accuracy_high": 0.2},
    ],
}  # fmt: skip
DATA = {"quarantined": 3, "groups": 0}
FORMATS = {"openvino": "openvino/model.xml", "onnx": "model.onnx"}


def _card(evidence: CardFigures, spec: Spec = SPEC) -> str:
    return model_card(CONTRACT, CARD, spec, evidence, FORMATS)  # type: ignore[arg-type]


@pytest.fixture
def evidence() -> CardFigures:
    return CardFigures(COMPARE, SCORES, DATA, "timm/tf_efficientnet_lite0.in1k")


def test_metadata_are_what_hugging_face_reads(evidence: CardFigures) -> None:
    data: Any = ModelCard(_card(evidence)).data
    assert (data.license, data.license_name) == ("other", "cc0-really")
    assert data.base_model == "timm/tf_efficientnet_lite0.in1k"
    assert data.pipeline_tag == "image-classification"
    results = {result.metric_type: result.metric_value for result in data.eval_results}
    assert results == {"accuracy": 0.89, "f1": 0.8, "roc_auc": 0.94}
    assert {(result.dataset_name, result.dataset_split) for result in data.eval_results} == {("Pictures: many", "test")}


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC BY-NC-SA 4.0 (images and labels; no commercial use)", {"license": "cc-by-nc-sa-4.0"}),
        ("CC BY 4.0 International", {"license": "cc-by-4.0"}),
        ("CC BY 2.0, by photograph", {"license": "other", "license_name": "cc-by-2.0-by-photograph"}),
        ("MIT-like, not for sale", {"license": "other", "license_name": "mit-like-not-for-sale"}),
        ("非商用", {"license": "other", "license_name": "custom"}),
        ("CC0-1.0", {"license": "cc0-1.0"}),
        ("MIT License", {"license": "mit"}),
        ("Apache License 2.0.", {"license": "apache-2.0"}),
        ("BSD 3-Clause Clear", {"license": "bsd-3-clause-clear"}),
        ("ODbL 1.0", {"license": "odbl"}),
        ("not stated", {"license": "unknown"}),
        ("MIT-0", {"license": "other", "license_name": "mit-0"}),
        ("CC BY-SA 2.0", {"license": "other", "license_name": "cc-by-sa-2.0"}),
        ("Mitteilung (https://a.org/x)",
         {"license": "other", "license_name": "mitteilung", "license_link": "https://a.org/x"}),
    ],
)  # fmt: skip
def test_a_licence_has_the_identifier_of_hugging_face(licence: str, expected: dict[str, str]) -> None:
    assert licence_metadata(licence) == expected


def test_the_base_model_is_named_where_its_weights_are_on_hugging_face(evidence: CardFigures) -> None:
    assert base_model("efficientnet_lite2", "packaged") == "timm/tf_efficientnet_lite2.in1k"
    for backbone, weights in (("efficientnet_lite2", "none"), ("vgg16", "imagenet")):
        assert base_model(backbone, weights) is None
    assert "base_model" not in _card(replace(evidence, base=None))


def test_the_program_is_there_if_its_format_is(evidence: CardFigures) -> None:
    assert PROGRAM in _card(evidence)
    only: Any = {"openvino": "openvino/model.xml"}
    assert "onnxruntime" not in model_card(CONTRACT, CARD, SPEC, evidence, only)


def test_scores_are_those_of_the_model_with_their_intervals(evidence: CardFigures) -> None:
    text = _card(evidence)
    assert "| accuracy | 0.890 (0.870 to 0.910) |" in text
    assert "| F1 of *yes: \\<b>* | 0.800 (0.700 to 0.850) |" in text
    assert "| ROC AUC | 0.940 |" in text
    assert "| precision, recall of *yes: \\<b>* | 0.610, 0.620 |" in text
    assert "the same at the threshold 0.4500, which has the highest F1 on the validation split | 0.630, 0.640 |" in text
    assert "bootstrap" not in text
    assert "| expected calibration error, calibrated | 0.032 |" in text
    assert "1,640 in train, 328 in validation, 656 in test;\n3 were left out" in text
    assert "keep its class: none." in text


def test_one_image_does_not_make_the_worst_subgroup(evidence: CardFigures) -> None:
    single = {"model": "head", "column": "kind", "value": "odd", "images": 1, "accuracy": 0.0, "accuracy_low": 0.0,
              "accuracy_high": 0.975}  # fmt: skip
    both = {**COMPARE, "subgroups": [*COMPARE["subgroups"], single]}
    text = " ".join(_card(replace(evidence, compare=both)).split())
    assert "worst where kind is 0.333: " in text
    assert "(0.000 to 0.975) on 1 image." in " ".join(
        _card(replace(evidence, compare={**COMPARE, "subgroups": [single]})).split()
    )


def test_limits_name_the_worst_subgroup_of_this_model(evidence: CardFigures) -> None:
    text = " ".join(_card(evidence).split())
    assert "worst where kind is 0.333: accuracy 0.800 (0.700 to 0.900) on 73 images" in text
    assert "names no groups" in text
    grouped = " ".join(
        _card(replace(evidence, data={**DATA, "groups": 7}, compare={**COMPARE, "subgroups": []})).split()
    )
    assert "The 7 groups that the dataset names lie whole in one split" in grouped
    assert "worst where" not in grouped


def test_without_a_positive_class_there_is_no_threshold(evidence: CardFigures) -> None:
    compare = {**COMPARE, "intervals": {"head": {**evidence.intervals, "auc": None}}}
    text = _card(replace(evidence, compare=compare), replace(SPEC, positive=None))
    assert "threshold" not in text
    assert "ROC AUC" not in text
    assert "roc_auc" not in text
    assert "| accuracy | 0.890" in text
    assert "| F1, mean over the classes | 0.800" in text
