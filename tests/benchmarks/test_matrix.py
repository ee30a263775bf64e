"""Tests of benchmarks/matrix.py: what it sets, how it reads what came out, and its table. It runs no pipeline."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import matrix
from benchmarks.matrix import (
    DATASETS,
    SMALL,
    accuracies,
    chance,
    failed,
    left_to_run,
    small_params,
    started,
    status_of,
    write_params,
)
from benchmarks.readme import matrix_markdown
from tests.conftest import ROOT
from transfer.core.cuts import CUTS, FACTS
from transfer.core.errors import UserError
from transfer.core.files import write_json
from transfer.core.params import read_params

REAL: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def _cell(status: str = "ok", **values: Any) -> dict[str, Any]:
    done = status == "ok"
    scores = {"head": 0.5 if done else None, "finetuned": 0.625 if done else None}
    return {
        "commit": "abc",
        "status": status,
        "seconds": 61.4,
        "stages": ["compare"],
        "weights": "none",
        **scores,
        **values,
    }


def _results() -> dict[str, Any]:
    shared = {"status": "ok", "seconds": 44.6, "stages": ["download"]}
    broken = {"status": "error: x", "seconds": 1.0, "stages": []}
    return {
        "cores": os.cpu_count(),
        "params": SMALL,
        "datasets": {
            "elpv": {
                "chance": 0.6875,
                "shared": shared,
                "backbones": {"efficientnet_lite0": _cell(weights="packaged"), "vgg16": _cell("error: a | b")},
            },
            "digits": {
                "chance": None,
                "shared": broken,
                "backbones": {"vgg16": _cell(finetuned=0.1)},
            },
        },
    }


@pytest.mark.parametrize("backbone", CUTS)
def test_the_small_params_are_valid_for_every_backbone(tmp_path: Path, backbone: str) -> None:
    write_params(tmp_path, small_params(REAL, "pictures/digits", backbone))
    params = read_params(tmp_path / "params.yaml")
    assert (params.dataset, params.backbone) == ("pictures/digits", backbone)
    assert params.weights == ("packaged" if "lite" in backbone else "none")
    assert params.finetune.cut == "auto"
    assert params.image_size % FACTS[backbone].multiple == 0
    assert params.max_images == 240


def test_what_is_not_made_small_stays_as_it_is() -> None:
    small = small_params(REAL, "d", "vgg16")
    assert small["finetune"]["clip_norm"] == REAL["finetune"]["clip_norm"]
    assert small["baselines"]["ann"]["lr"] == REAL["baselines"]["ann"]["lr"]
    assert (small["seed"], small["head"]["views"], small["head"]["epochs"]) == (REAL["seed"], 1, 12)
    assert REAL["head"]["views"] == "all"  # not changed in place


def test_a_parameter_that_is_no_more_is_an_error() -> None:
    renamed = {**REAL, "head": {name: value for name, value in REAL["head"].items() if name != "views"}}
    with pytest.raises(UserError, match=r"head\.views: unknown key; use one of "):
        small_params(renamed, "d", "vgg16")


FAILED = """Running stage 'train_head':
> python -m stages.train_head
Traceback (most recent call last):
ValueError: shapes differ
ERROR: failed to reproduce 'train_head': failed to run: python -m stages.train_head, exited with 1
"""


@pytest.mark.parametrize(
    ("code", "output", "status"),
    [
        (0, "error: this is said in passing", "ok"),
        (1, f"W0000\nerror: head: expected a, received b\n{FAILED}", "error: head: expected a, received b"),
        (1, FAILED, "error: ValueError: shapes differ"),
        (1, "ERROR: failed to read dvc.yaml\n", "error: failed to read dvc.yaml"),
        (137, "", "error: dvc repro ended with status 137"),
    ],
)
def test_the_status_is_the_line_that_says_what_went_wrong(code: int, output: str, status: str) -> None:
    assert status_of(code, output) == status


def test_a_status_is_one_line_of_bounded_length() -> None:
    assert status_of(1, "error: " + "x" * 1000) == "error: " + "x" * 293


def test_chance_is_the_share_of_the_largest_class_in_the_test_split() -> None:
    figures = {"classes": {"test": {"a": 10, "b": 30}, "train": {"a": 100, "b": 0}}}
    assert chance(figures) == 0.75


def test_a_failed_run_has_no_scores_from_the_run_before(tmp_path: Path) -> None:
    for model, accuracy in (("head", 0.5), ("finetuned", 0.75)):
        write_json({"accuracy": accuracy}, tmp_path / f"metrics/evaluate/{model}.json")
    assert accuracies(tmp_path, "ok") == {"head": 0.5, "finetuned": 0.75}
    assert accuracies(tmp_path, "error: x") == {"head": None, "finetuned": None}


def test_the_table_shows_every_backbone_and_dataset() -> None:
    assert matrix_markdown(_results()).splitlines() == [
        "| backbone (weights) | `elpv`: chance 0.688; stages that all share 45 s | `digits` |",
        "| --- | ---: | ---: |",
        "| `efficientnet_lite0` (ImageNet) | ok: 0.500 → 0.625, 61 s | not run |",
        "| `vgg16` (random) | error: a &#124; b | ok: 0.500 → 0.100, 61 s |",
    ]


def test_a_long_error_is_cut_in_the_table() -> None:
    results = _results()
    results["datasets"]["digits"]["backbones"]["vgg16"] = _cell("error: " + "x" * 200)
    assert f"| error: {'x' * 72}… |" in matrix_markdown(results)


def test_what_failed_is_named() -> None:
    assert failed(_results()) == ["elpv vgg16"]


def test_resuming_runs_what_is_missing_failed_or_of_another_commit() -> None:
    names = ["efficientnet_lite0", "vgg16", "resnet50"]
    assert left_to_run(_results(), "elpv", names, "abc") == ["vgg16", "resnet50"]
    assert left_to_run(_results(), "digits", names, "abc") == ["efficientnet_lite0", "resnet50"]
    assert left_to_run(_results(), "gratings", names, "abc") == names
    assert left_to_run(_results(), "digits", names, "def") == names


def test_what_is_not_run_again_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "RESULTS", tmp_path / "matrix.json")
    assert started()["datasets"] == {name: {"backbones": {}} for name in DATASETS}
    write_json(_results(), tmp_path / "matrix.json")
    assert started()["datasets"] == {**_results()["datasets"], "gratings": {"backbones": {}}}


def test_the_datasets_are_the_three() -> None:
    assert DATASETS == ("elpv", "gratings", "digits")
