"""All stages one after the other on tiny images and a tiny backbone: the real thing, made small."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from tests.conftest import RunStage
from transfer.errors import UserError
from transfer.model_files import load

CHAIN = [
    ("download",), ("weights",), ("preprocess",), ("embed", "head"), ("embed", "finetune"), ("train_baseline", "ann"),
    ("train_baseline", "cnn"), ("train_head",), ("finetune",), ("evaluate", "ann"), ("evaluate", "cnn"),
    ("evaluate", "head"), ("evaluate", "finetuned"), ("compare",),
]  # fmt: skip


def _json(path: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(Path(path).read_text(encoding="utf-8"))
    return value


def test_the_whole_chain_learns_two_colours(
    project: Path, tiny_backbone: None, run_stage: RunStage, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, *arguments in CHAIN:
        capsys.readouterr()
        run_stage(name, *arguments)
        printed = capsys.readouterr().out
        assert "read " in printed, name
        assert "wrote " in printed, name
    for model in ("ann", "cnn", "head", "finetuned"):
        scores = _json(f"metrics/evaluate/{model}.json")
        assert scores["accuracy"] == 1.0, (model, scores)
        table = pd.read_csv(f"plots/predictions/{model}.csv")
        assert len(table) == 12
        assert list(table["actual"]) == list(table["predicted"])
        curve = pd.read_csv(f"plots/history/{model}/plots/metrics/validation/loss.tsv", sep="\t")
        assert len(curve) == {"head": 25, "finetuned": 2}.get(model, 8)
    assert _json("metrics/data.json")["splits"] == {"train": 24, "validation": 12, "test": 12}
    report = Path("metrics/REPORT.md").read_text(encoding="utf-8")
    assert "`finetuned` is not better than `head`: +0.0 points" in report
    assert "may be as low as 0.779 (exact binomial, 95 %)" in report  # 12 test images, all right: 0.05^(1/12)
    performance = pd.read_csv("plots/performance_table.csv").set_index("model")
    head = _json("metrics/cost/train-head.json")["seconds"]
    embed = _json("metrics/cost/embed-head.json")["seconds"]
    assert isinstance(head, float)
    assert isinstance(embed, float)
    assert performance.loc["head", "training_s"] == pytest.approx(head + embed, abs=0.06)
    assert performance.loc["head", "trainable"] == 16 * 8 + 8 + 8 * 2 + 2
    _assert_only_what_is_above_the_cut_changed()


def _assert_only_what_is_above_the_cut_changed() -> None:
    """Compare the fine-tuned weights with those of the model that fine-tuning started from."""
    before, _ = load(Path("models/head.json"), Path("models/head.weights.h5"))
    after, _ = load(Path("models/finetuned.json"), Path("models/finetuned.weights.h5"))

    def layer(model: keras.Model, name: str) -> list[np.ndarray]:
        weights: list[np.ndarray] = model.get_layer(name).get_weights()
        return weights

    for name in ("block1_conv", "block1_bn"):
        for one, other in zip(layer(before.whole, name), layer(after.whole, name), strict=True):
            np.testing.assert_array_equal(one, other)
    for name in ("block2_depthwise_conv", "block2_project_conv", "top_conv"):
        assert not np.array_equal(layer(before.whole, name)[0], layer(after.whole, name)[0]), name
    for name in ("block2_depthwise_bn", "block2_project_bn", "top_bn"):
        gamma, beta, mean, variance = range(4)
        old, new = layer(before.whole, name), layer(after.whole, name)
        assert not np.array_equal(old[gamma], new[gamma]), name
        assert not np.array_equal(old[beta], new[beta]), name
        np.testing.assert_array_equal(old[mean], new[mean])
        np.testing.assert_array_equal(old[variance], new[variance])


def test_training_twice_gives_the_same_bytes(project: Path, tiny_backbone: None, run_stage: RunStage) -> None:
    for name, *arguments in CHAIN[:5]:
        run_stage(name, *arguments)
    written = []
    for _ in range(2):
        for name, *arguments in [("embed", "finetune"), ("train_head",), ("finetune",)]:
            run_stage(name, *arguments)
        files = [*Path("models").glob("*"), *Path("data/activations").rglob("*.npy"), *Path("plots").rglob("*.tsv")]
        written.append({str(path): path.read_bytes() for path in files})
    assert written[0] == written[1]
    assert len(written[0]) > 15


def test_a_collapsed_head_is_an_error_that_says_so(project: Path, tiny_backbone: None, run_stage: RunStage) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    text = text.replace("epochs: 25", "epochs: 1").replace("lr: 0.01", "lr: 0.0000001")
    Path("params.yaml").write_text(text, encoding="utf-8")
    for name, *arguments in CHAIN[:4]:
        run_stage(name, *arguments)
    with pytest.raises(UserError, match=r"head: expected a model better than chance, received one that collapsed"):
        run_stage("train_head")


def test_a_damaged_model_is_an_error_that_names_it(project: Path, tiny_backbone: None, run_stage: RunStage) -> None:
    for name, *arguments in [*CHAIN[:3], ("train_baseline", "ann")]:
        run_stage(name, *arguments)
    weights = Path("models/ann.weights.h5")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"models/ann.weights.h5: expected the weights"):
        run_stage("evaluate", "ann")


def test_whole_network_and_training_path_must_agree(project: Path, tiny_backbone: None, run_stage: RunStage) -> None:
    for name, *arguments in [*CHAIN[:3], ("train_baseline", "ann")]:
        run_stage(name, *arguments)
    cached = Path("models/ann.validation.npy")
    np.save(cached, np.load(cached)[:, ::-1])
    with pytest.raises(
        UserError, match=r"models/ann.validation.npy: expected the probabilities that the whole network"
    ):
        run_stage("evaluate", "ann")
