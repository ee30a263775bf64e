"""Tests of benchmarks/peers/runs.py: what is run, kept and scored, and the table. It runs no pipeline."""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks import clones
from benchmarks.peers import ours, runs
from benchmarks.peers.jobs import read_split
from benchmarks.peers.runs import (
    PEERS,
    Settings,
    export,
    failed,
    left_to_run,
    read_params,
    rows_of,
    run_choice,
    score_split,
    seed_params,
    started,
    summary,
)
from benchmarks.readme import BLOCKS, peers_markdown
from tests.conftest import ROOT, write_records
from transfer.core.errors import UserError
from transfer.core.files import write_json
from transfer.core.params import read_params as read_strictly
from transfer.core.spec import Spec
from transfer.evaluation.scores import Predictions
from transfer.records.tfrecords import Example

REAL: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
FULL = Settings(smoke=False, image_size=224, max_images=None)
SPEC = Spec(("intact", "defective"), "defective", "dihedral", 4, 1, {"train": 6, "validation": 4, "test": 4})


def run(status: str = "ok", **values: float) -> dict[str, Any]:
    figures = {"accuracy": 0.8, "weighted": 0.81, "f1": 0.7, "auc": 0.9, "val_accuracy": 0.8}
    cost = {"seconds": 100.0, "peak_memory_bytes": 10**9}
    return {
        "commit": "abc",
        "epochs_scale": 1.0,
        "status": status,
        **({**figures, **cost, **values} if status == "ok" else {}),
    }


def results(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "cores": 2,
        "vector_instructions": "AVX2",
        "settings": asdict(FULL),
        "rows": {
            row: {"title": runs.TITLES[row], "runs": dict(of_row), "summary": summary(dict(of_row))}
            for row, of_row in rows.items()
        },
    }


@pytest.mark.parametrize(("smoke", "scale"), [(False, 1.0), (False, 0.1), (True, 0.01)])
def test_the_params_of_a_seed_are_valid(tmp_path: Path, smoke: bool, scale: float) -> None:
    params = seed_params(REAL, 3, smoke, scale)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    read = read_strictly(tmp_path / "params.yaml")
    assert (read.seed, read.backbone, read.weights) == (3, "efficientnet_lite0", "packaged")
    assert (read.image_size, read.max_images) == ((96, 64) if smoke else (224, REAL["max_images"]))
    assert read.finetune.epochs == {1.0: "auto", 0.1: 2, 0.01: 3}[scale]


def test_by_default_the_pipeline_is_that_of_params_yaml_but_for_the_seed() -> None:
    assert seed_params(REAL, 2, smoke=False, scale=1.0) == {**REAL, "seed": 2}


def test_a_shortened_pipeline_has_a_share_of_the_epochs() -> None:
    short = seed_params(REAL, 2, smoke=False, scale=0.5)
    assert (short["head"]["epochs"], short["finetune"]["epochs"]) == (20, 9)


@pytest.mark.parametrize(("key", "value"), [("backbone", "vgg16"), ("weights", "none")])
def test_another_backbone_is_refused(tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**REAL, key: value}), encoding="utf-8")
    with pytest.raises(UserError, match=rf"{key}: expected .* received '{value}'"):
        read_params(tmp_path)


def _records(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
    for name, count in SPEC.counts.items():
        examples = (Example(f"{name}{i}.png", pixels[i], i % 2, math.nan, (i + 1) / 10) for i in range(count))
        write_records(examples, folder / name, 16)


def test_peers_get_the_images_of_the_records_and_no_test_labels(tmp_path: Path) -> None:
    _records(tmp_path / "records")
    truths, seconds = export(tmp_path / "records", tmp_path / "arrays", SPEC)
    assert seconds > 0
    split = read_split(tmp_path / "arrays", "train")
    assert (split.pixels.shape, split.labels.tolist()) == ((6, 4, 4, 1), [0, 1, 0, 1, 0, 1])
    assert sorted(path.name for path in (tmp_path / "arrays").iterdir()) == [
        "test.pixels.npy", "train.labels.npy", "train.pixels.npy", "validation.labels.npy", "validation.pixels.npy",
    ]  # fmt: skip
    assert truths["test"].labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(truths["test"].confidence, [0.1, 0.2, 0.3, 0.4])


def test_more_than_two_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected 2 classes for the peers, received a, b, c"):
        export(tmp_path, tmp_path, Spec(("a", "b", "c"), None, "none", 4, 1, {}))


TRUTH = Predictions(
    images=list("abcd"),
    labels=np.array([0, 0, 1, 1]),
    soft_labels=np.full(4, np.nan, np.float32),
    confidence=np.array([1, 1, 1, 0.5], np.float32),
    probabilities=np.empty((0, 2), np.float32),
)


def test_a_peer_is_scored_as_the_pipeline_is(tmp_path: Path) -> None:
    positive = np.array([0.1, 0.6, 0.7, 0.4], np.float32)
    np.save(tmp_path / "p.npy", np.stack([1 - positive, positive], axis=1))
    scores = score_split(TRUTH, tmp_path / "p.npy", SPEC)
    assert (scores["accuracy"], scores["f1"], scores["auc"]) == (0.5, 0.5, 0.75)
    assert scores["weighted"] == pytest.approx(2 / 3.5)


@pytest.mark.parametrize("values", [np.full((3, 2), 0.5), np.full((4, 2), np.nan)])
def test_predictions_that_are_none_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "p.npy", values)
    with pytest.raises(UserError, match=r"expected finite probabilities \(4, 2\), received"):
        score_split(TRUTH, tmp_path / "p.npy", SPEC)


def test_the_pipelines_seconds_are_those_of_the_performance_table(tmp_path: Path) -> None:
    write_json(run(), tmp_path / "metrics/evaluate/finetuned.json")
    write_json({"best_epoch": 5}, tmp_path / "metrics/train/finetuned.json")
    costs = {"embed": (1, 7), "train-head": (2, 5), "train-finetuned": (8, 9)}
    for name, (seconds, memory) in costs.items():
        write_json({"seconds": seconds, "peak_memory_bytes": memory}, tmp_path / f"metrics/cost/{name}.json")
    figures = ours.figures(tmp_path, "finetuned")
    assert (figures["seconds"], figures["peak_memory_bytes"], figures["best_epoch"]) == (11, 9, 5)
    assert figures["accuracy"] == 0.8


def test_a_peer_that_fails_has_a_status_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise UserError("dvc repro: expected it to end well, received error: x")

    monkeypatch.setattr(ours, "run_pipeline", fail)
    cells = run_choice("ours", runs.Prepared(1, 1.0, Path(), Path(), SPEC, {}, 0.0), timed=True)
    message = "error: dvc repro: expected it to end well, received error: x"
    assert cells == {"head": {"status": message}, "finetuned": {"status": message}}


def test_without_seconds_the_pipelines_scores_are_those_that_the_seeds_benchmark_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"HEAD": "lr: 1", "same": "{lr: 1}", "other": "lr: 2"}
    monkeypatch.setattr(clones, "git", lambda _, of: params[of.split(":")[0]])
    scores = {"accuracy": 0.8, "weighted": 0.8, "f1": 0.7, "auc": 0.9, "val_accuracy": 0.8}
    both = {model: {**scores, "ece": 0.1} for model in ("ann", "head", "finetuned")}
    path = tmp_path / "seeds.json"
    assert ours.found(path, 2) is None
    write_json({"commit": "same", "scores": {"2": both}}, path)
    assert ours.found(path, 3) is None
    expected = {model: {"commit": "same", **scores} for model in ("head", "finetuned")}
    assert ours.found(path, 2) == expected

    trained = {"head": {"seconds": 9.0}}
    monkeypatch.setattr(ours, "run_pipeline", lambda _: trained)
    monkeypatch.setattr(runs, "results_file", lambda _: path)
    prepared = runs.Prepared(2, 1.0, Path(), Path(), SPEC, {}, 0.0)
    assert set(run_choice("ours", prepared, timed=False)) == {"head", "finetuned"}
    ran_anew = {"head": {"status": "ok", "seconds": 9.0}}
    assert run_choice("ours", prepared, timed=True) == ran_anew
    assert run_choice("ours", replace(prepared, epochs_scale=0.5), timed=False) == ran_anew
    write_json({"commit": "other", "scores": {"2": both}}, path)
    assert run_choice("ours", prepared, timed=False) == ran_anew


def test_figures_are_summed_up_over_the_seeds_that_ended_well() -> None:
    three = {"1": run(accuracy=0.8), "2": run(accuracy=0.9), "3": run("error: x")}
    assert summary(three)["accuracy"] == {"mean": 0.85, "sd": 0.0707}
    assert summary({"1": run()})["seconds"] == {"mean": 100.0, "sd": None}
    assert summary({"1": run("error: x")}) == {}


def test_resuming_runs_what_is_missing_failed_of_another_commit_or_of_other_epochs() -> None:
    of_svm = {"1": run(), "2": run("error: x"), "3": {**run(), "commit": "old"}, "4": {**run(), "epochs_scale": 0.5}}
    old, choices = results({"svm": of_svm}), ("svm", "ours")
    cells = {(row, str(seed)) for row in rows_of(choices) for seed in (1, 2, 3, 4)}
    resumed = started(old, FULL, cells, {"commit": "abc", "epochs_scale": 1.0})
    assert [left_to_run(resumed, choices, seed) for seed in (1, 2, 3, 4)] == [["ours"], *[["svm", "ours"]] * 3]
    anew = started(old, FULL, cells, None)
    assert left_to_run(anew, choices, 1) == ["svm", "ours"]


def test_what_is_not_run_again_is_kept() -> None:
    old = results({"svm": {"1": run(), "2": run()}, "timm": {"1": run()}})
    kept = started(old, FULL, {("svm", "2")}, None)["rows"]
    assert {name: list(row["runs"]) for name, row in kept.items()} == {"svm": ["1"], "timm": ["1"]}
    assert list(started({}, FULL, {("head", "1")}, None)["rows"]) == ["head"]


def test_results_of_other_settings_are_not_overwritten() -> None:
    with pytest.raises(UserError, match=r"expected results of .*'image_size': 300.* received those of .*224"):
        started(results({"svm": {"1": run()}}), Settings(False, 300, None), {("svm", "1")}, None)


def test_seeds_stand_in_order_however_they_were_run() -> None:
    table = results({"svm": {"2": run(), "10": run()}})
    runs.add(table, "svm", 3, run(accuracy=0.5))
    assert list(table["rows"]["svm"]["runs"]) == ["2", "3", "10"]
    assert table["rows"]["svm"]["summary"]["accuracy"]["mean"] == 0.7


def test_what_failed_is_named() -> None:
    assert failed(results({"svm": {"1": run(), "2": run("error: x")}})) == ["svm 2"]


def test_a_share_of_no_epochs_is_refused() -> None:
    with pytest.raises(UserError, match="--epochs-scale: expected a number above 0, received -1"):
        runs.check(argparse.Namespace(epochs_scale=-1.0, peers=["svm"], outputs=None))


def test_without_pytorch_the_peer_that_needs_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "TORCH_PYTHON", tmp_path / "python")
    runs.check(argparse.Namespace(epochs_scale=1.0, peers=["svm", "ours"], outputs=None))
    with pytest.raises(
        UserError, match=r"expected PyTorch's environment, .* received none: make bench NAME=peers sets it up"
    ):
        runs.check(argparse.Namespace(epochs_scale=1.0, peers=["svm", "timm"], outputs=None))


def test_what_a_peer_wrote_elsewhere_is_scored_without_pytorch_and_a_gpus_seconds_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "TORCH_PYTHON", tmp_path / "python")
    runs.check(argparse.Namespace(epochs_scale=1.0, peers=["timm"], outputs=tmp_path))
    with pytest.raises(UserError, match=r"--outputs: expected --peers without ours, .* received ours"):
        runs.check(argparse.Namespace(epochs_scale=1.0, peers=["timm", "ours"], outputs=tmp_path))
    with pytest.raises(UserError, match=r"--outputs: expected a folder, received .*nowhere, which is none"):
        runs.check(argparse.Namespace(epochs_scale=1.0, peers=["timm"], outputs=tmp_path / "nowhere"))
    positive = np.array([0.1, 0.6, 0.7, 0.4], np.float32)
    for name in ("timm-2", "svm-2"):
        (tmp_path / name).mkdir()
        for split in ("validation", "test"):
            np.save(tmp_path / name / f"{split}.probabilities.npy", np.stack([1 - positive, positive], axis=1))
    cost = {"seconds": 10.0, "peak_memory_bytes": 5, "best_epoch": 3}
    write_json({**cost, "device": "H200"}, tmp_path / "timm-2/cost.json")
    write_json(cost, tmp_path / "svm-2/cost.json")
    truths = {"validation": TRUTH, "test": TRUTH}
    prepared = runs.Prepared(2, 1.0, Path(), Path(), SPEC, truths, 2.0, tmp_path)
    scores = {"accuracy": 0.5, "weighted": 0.5714, "f1": 0.5, "auc": 0.75, "val_accuracy": 0.5}
    assert runs.run_peer("timm", prepared) == {**scores, "best_epoch": 3, "device": "H200"}
    assert runs.run_peer("svm", prepared) == {**scores, **cost, "seconds": 12.0}
    with pytest.raises(UserError, match=r"logistic-2: expected what the peer wrote, .* received none"):
        runs.run_peer("logistic", prepared)


def test_every_peer_names_a_module_that_is_there() -> None:
    for peer in PEERS.values():
        assert (ROOT / f"{peer.command[1].replace('.', '/')}.py").exists()


def test_the_table_has_means_and_deviations_and_says_which_seeds_are_missing() -> None:
    both = {"1": run(accuracy=0.8, seconds=90.0), "2": run(accuracy=0.9, seconds=110.0)}
    table = peers_markdown(results({"tutorial": both, "svm": {"1": run(), "2": run("error: x")}, "timm": {}}))
    assert table.splitlines() == [
        "| seeds 1, 2, 224 pixels, 2 cores with AVX2 | test accuracy | weighted accuracy | F1 | ROC AUC | training | "
        "peak memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| TensorFlow's transfer-learning tutorial | 0.8500 ± 0.0707 | 0.8100 ± 0.0000 | 0.7000 ± 0.0000 | "
        "0.9000 ± 0.0000 | 100 ± 14 s | 1,000 ± 0 MB |",
        "| scikit-learn: SVM (RBF) on features (seed 1) | 0.8000 | 0.8100 | 0.7000 | 0.9000 | 100 s | 1,000 MB |",
        "| PyTorch: fine-tuning in timm's manner | not run | not run | not run | not run | not run | not run |",
    ]


def test_a_table_says_what_was_trained_on_a_gpu() -> None:
    gpu = {name: value for name, value in run(accuracy=0.9).items() if name not in ("seconds", "peak_memory_bytes")}
    rows = {"timm": {"1": run(accuracy=0.8), "2": {**gpu, "device": "H200"}}, "svm": {"1": {**gpu, "device": "H200"}}}
    lines = peers_markdown(results(rows)).splitlines()
    assert lines[2].startswith("| PyTorch: fine-tuning in timm's manner (seed 2 on an H200) | 0.8500 ± 0.0707 |")
    assert lines[2].endswith("| 100 s | 1,000 MB |")
    assert lines[3].startswith("| scikit-learn: SVM (RBF) on features (seed 1, on an H200) |")
    assert lines[3].endswith("| – | – |")


def test_a_table_says_with_which_seeds_the_time_was_taken() -> None:
    beside = {name: value for name, value in run(accuracy=0.9).items() if name != "seconds"}
    rows = {"timm": {"1": run(accuracy=0.8), "2": beside, "3": beside}, "svm": {"1": beside, "2": beside, "3": beside}}
    lines = peers_markdown(results(rows)).splitlines()
    assert lines[2].startswith("| PyTorch: fine-tuning in timm's manner (training time of seed 1) | 0.8667 ± 0.0577 |")
    assert lines[2].endswith("| 100 s | 1,000 ± 0 MB |")
    assert lines[3].startswith("| scikit-learn: SVM (RBF) on features | 0.9000")
    assert lines[3].endswith("| – | 1,000 ± 0 MB |")


def test_what_ran_beside_other_work_has_no_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "run_choice", lambda choice, *_: {choice: run()})
    monkeypatch.setattr(runs, "git", lambda *_: "abc")
    prepared = runs.Prepared(1, 1.0, Path(), Path(), SPEC, {}, 2.0)
    for timed in (True, False):
        table = results({"svm": {}})
        runs.run_seed(["svm"], prepared, table, tmp_path / "peers.json", timed)
        done = json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))["rows"]["svm"]["runs"]["1"]
        assert ("seconds" in done) == timed
        assert done["peak_memory_bytes"] == run()["peak_memory_bytes"]


def test_a_table_of_shortened_recipes_says_so() -> None:
    short = {"1": {**run(), "epochs_scale": 0.25}}
    table = peers_markdown(results({"svm": {"1": run(), "2": run()}, "timm": short}))
    assert "| PyTorch: fine-tuning in timm's manner (seed 1, 0.25 of the epochs) |" in table


def test_without_results_the_block_says_that_nothing_was_measured(tmp_path: Path) -> None:
    assert BLOCKS["peers"](tmp_path) == "Not measured yet."
    write_json(results({"svm": {"1": run()}}), tmp_path / "benchmarks/results/peers.json")
    assert BLOCKS["peers"](tmp_path).startswith("| seed 1, 224 pixels")
