"""Tests of transfer/results/performance.py: what is found of made-up results; the stages' own are in tests/stages."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from transfer.core.errors import UserError
from transfer.core.spec import Spec
from transfer.results.delong import AreaComparison
from transfer.results.performance import MODELS, TRAINING, Findings, Results, figures, find, read_results, verdicts
from transfer.results.statistics import Comparison

PAIRED = [("ann", "head"), ("cnn", "head"), ("ann", "finetuned"), ("cnn", "finetuned"), ("head", "finetuned")]
SKILL = {"ann": 0.5, "cnn": 1.0, "head": 3.0, "finetuned": 3.0}


def make_spec(classes: tuple[str, ...], positive: str | None, images: int) -> Spec:
    return Spec(classes, positive, "none", 32, 3, {"train": 9, "validation": 9, "test": images})


def make_results(spec: Spec, folder: Path, skill: dict[str, float] = SKILL) -> Results:
    """Results of models of which two are better than the others, as read from the files that the stages write."""
    random = np.random.default_rng(0)
    classes, images = spec.classes, spec.counts["test"]
    labels = np.arange(images) % len(classes)
    shared = random.normal(size=(images, len(classes)))
    for model in MODELS:
        logits = 0.7 * shared + 0.7 * random.normal(size=shared.shape) + skill[model] * np.eye(len(classes))[labels]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        columns: dict[str, Any] = {"image": [f"{i}.png" for i in range(images)]}
        columns["actual"] = [classes[i] for i in labels]
        columns["predicted"] = [classes[i] for i in probabilities.argmax(axis=1)]
        columns |= {f"p_{name}": probabilities[:, i].round(6) for i, name in enumerate(classes)}
        _write(folder / f"predictions/{model}.csv", pd.DataFrame(columns).to_csv(index=False))
        accuracy = float(np.mean(probabilities.argmax(axis=1) == labels))
        names = (
            "weighted",
            "f1",
            "f1_macro",
            "auc",
            "auc_weighted",
            "log_loss",
            "ece",
            "ece_calibrated",
            "log_loss_calibrated",
            "brier",
        )
        scores = dict.fromkeys((*names, "brier_calibrated", "temperature", "train_accuracy", "val_accuracy"), 0.5)
        if spec.positive_class is not None:
            ends = ("", "_at_threshold")
            scores |= {f"{name}{end}": 0.5 for name in ("accuracy", "precision", "recall", "f1") for end in ends}
            scores["threshold"] = 0.4321
        macro = float(f1_score(columns["actual"], columns["predicted"], average="macro", zero_division=0.0))
        f1 = macro
        if spec.positive_class is not None:
            f1 = float(f1_score(columns["actual"], columns["predicted"], pos_label=spec.positive, zero_division=0.0))
        scores |= {"accuracy": accuracy, "f1": round(f1, 4), "f1_macro": round(macro, 4)}
        _write_json(folder / f"evaluated/{model}.json", scores)
        losses = {"validation": {"loss": 0.5}, "epochs": 9, "best_epoch": 3, "chance_loss": 0.7}
        losses |= {"collapsed": None, "stopped": None, "one_class_epochs": []}
        _write_json(folder / f"trained/{model}.json", {"parameters": 10, "trainable": 5, **losses})
    prediction = {"weights_bytes": 1, "peak_memory_bytes": 1, "engine": "tensorflow"}
    prediction |= {"seconds_per_image_batch_1": 1, "seconds_per_image_batch_32": 1}
    for name in {name for parts in TRAINING.values() for name in parts} | {f"evaluate-{model}" for model in MODELS}:
        _write_json(folder / f"cost/{name}.json", {"seconds": 1.0, "prediction": prediction})
    return read_results(folder / "evaluated", folder / "trained", folder / "predictions", folder / "cost")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_json(path: Path, value: object) -> None:
    _write(path, json.dumps(value))


def make_findings(spec: Spec, results: Results, strata: pd.DataFrame | None = None) -> Findings:
    return find(results, pd.DataFrame(index=range(len(results.images))) if strata is None else strata, spec, 100, 1)


def test_two_classes_are_compared_by_accuracy_and_area(tmp_path: Path) -> None:
    spec = make_spec(("7", "NA"), "NA", 300)
    results = make_results(spec, tmp_path)
    findings = make_findings(spec, results, pd.DataFrame({"kind": ["one"] + ["rest"] * 299}))
    assert len(findings.pairs) == len(findings.areas) == 6
    better = next(pair for pair in findings.areas if (pair.first, pair.second) == ("ann", "head"))
    assert better.low > 0
    assert better.p_holm < 0.001
    table = findings.table.set_index("model")
    assert (table["auc_low"] < table["auc_high"]).all()
    written = figures(results, findings)
    json.dumps(written, allow_nan=False)
    assert isinstance(written["subgroups"], list)
    single = written["subgroups"][0]
    assert (single["value"], single["images"], single["f1"]) == ("one", 1, None)
    said = verdicts(findings.pairs, findings.areas)
    assert said[0].startswith("`head` is better than `ann`: +")
    assert "`finetuned` is not shown to be better than `head`: " in said[-1]


def test_the_area_does_not_depend_on_which_class_is_named_positive(tmp_path: Path) -> None:
    found = []
    for positive in ("7", "NA", None):
        spec = make_spec(("7", "NA"), positive, 100)
        found.append(make_findings(spec, make_results(spec, tmp_path)).areas)
    for pairs in zip(*found, strict=True):
        assert len({(round(pair.difference, 4), round(pair.p, 4)) for pair in pairs}) == 1


def test_many_classes_are_compared_by_accuracy_alone(tmp_path: Path) -> None:
    spec = make_spec(tuple(f"class {i}" for i in range(200)), None, 400)
    results = make_results(spec, tmp_path)
    findings = make_findings(spec, results)
    assert findings.areas == []
    assert len(findings.pairs) == 6
    written = figures(results, findings)
    json.dumps(written, allow_nan=False)
    assert isinstance(written["intervals"], dict)
    assert written["intervals"]["head"]["auc_low"] is None
    assert all("AUC" not in line for line in verdicts(findings.pairs, findings.areas))


def test_models_without_an_error_are_not_told_apart(tmp_path: Path) -> None:
    spec = make_spec(("a", "b"), "b", 12)
    findings = make_findings(spec, make_results(spec, tmp_path, dict.fromkeys(MODELS, 100.0)))
    assert {(pair.difference, pair.low, pair.high, pair.p_holm) for pair in findings.pairs} == {(0, 0, 0, 1)}
    assert {(pair.difference, pair.low, pair.high, pair.p_holm) for pair in findings.areas} == {(0, 0, 0, 1)}


def test_models_that_saw_different_images_are_an_error(tmp_path: Path) -> None:
    make_results(make_spec(("a", "b"), "b", 12), tmp_path)
    path = tmp_path / "predictions/cnn.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("3.png", "33.png"), encoding="utf-8")
    with pytest.raises(UserError, match="predictions: expected the same test images for every model"):
        read_results(tmp_path / "evaluated", tmp_path / "trained", tmp_path / "predictions", tmp_path / "cost")


@pytest.mark.parametrize(
    ("difference", "p", "said"),
    [
        (0.02, 0.01, "`head` is better than `ann`: +2.0 points of test accuracy, significant (p = 0.01)."),
        (-0.02, 0.01, "`head` is worse than `ann`: -2.0 points"),
        (
            0.02,
            0.05,
            "`head` is not shown to be better than `ann`: +2.0 points of test accuracy, not significant (p = 0.05).",
        ),
        (0.0, 1.0, "`head` is not shown to be better than `ann`: +0.0 points"),
    ],
)
def test_a_verdict_says_no_more_than_the_test(difference: float, p: float, said: str) -> None:
    pairs = [Comparison(*names, 1, 9, difference, difference - 0.01, difference + 0.01, p, p) for names in PAIRED]
    assert verdicts(pairs, [])[0].startswith(said)
    area = AreaComparison("ann", "head", 0.0123, -0.001, 0.0256, 0.06, 0.06)
    assert verdicts(pairs, [area])[0].endswith("; +0.012 of ROC AUC, not significant (p = 0.06).")


def test_models_that_are_right_about_the_same_images_are_not_said_to_differ(tmp_path: Path) -> None:
    spec = make_spec(("a", "b"), "b", 200)
    results = make_results(spec, tmp_path)
    results.predictions["finetuned"] = results.predictions["head"]
    findings = make_findings(spec, results)
    assert verdicts(findings.pairs, findings.areas)[-1] == (
        "`finetuned` and `head` cannot be told apart by accuracy: both are right about the same test images; "
        "their ROC AUC is equal."
    )


def test_a_p_too_small_to_write_is_not_zero(tmp_path: Path) -> None:
    pairs = [Comparison(*names, 0, 9, 1.0, 1.0, 1.0, 0.0, 0.0) for names in PAIRED]
    line = verdicts(pairs, [AreaComparison("ann", "head", 1.0, 1.0, 1.0, 0.0, 0.0)])[0]
    assert line.count("p < 1e-300") == 2
