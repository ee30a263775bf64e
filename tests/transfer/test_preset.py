"""Tests of transfer/preset.py: a preset becomes an experiment of DVC."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides, to_hydra_overrides
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from transfer.core.errors import UserError
from transfer.core.params import read_params
from transfer.core.strict import load_yaml
from transfer.preset import NAME, as_override, overrides_of

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True).filter(NAME.fullmatch)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.text("a\"'\\\n")
)


@settings(deadline=None)  # the first call imports
@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)))
def test_dvc_reads_the_value_that_was_given(value: Any) -> None:
    (read,) = to_hydra_overrides([as_override("a.b", value)])
    assert (read.key_or_group, read.value()) == ("a.b", value)


@pytest.mark.parametrize("name", ["käse", "a b", "1", "a,b", "Null", "on", "No"])
def test_a_key_that_dvc_cannot_take_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match=rf"class_weights: `dvc exp run -S` cannot take the key '{name}' .*; write"):
        as_override("class_weights", {name: 1})


def _preset(text: str) -> Path:
    path = Path("preset.yaml")
    path.write_text(text, encoding="utf-8")
    return path


def test_only_what_differs_is_overridden_and_numbers_stay_numbers(project: Path) -> None:
    epochs = read_params(Path("params.yaml")).head.epochs
    overrides = overrides_of(_preset(f"lr: 2e-4\nhead: {{units: [64, 32], epochs: {epochs}}}\nmax_images: 12\n"))
    assert overrides == ["head.units=[64,32]", "lr=0.0002", "max_images=12"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heads: {}", r"preset.yaml: heads: unknown key; did you mean head\?"),
        ("lr: 2", r"preset.yaml: lr: expected .*, received 2"),
        ("- lr", r"preset.yaml: expected keys of params.yaml with their values, received \['lr'\]"),
        ("finetune: {cut: block99}", r"preset.yaml: expected finetune.cut to be a cut of .*, received 'block99'"),
        ("evaluate: {views: 8}", r"evaluate.views: expected at most 2, which is what the dataset's symmetry"),
        ("dataset: nowhere", "dataset: there is nothing at 'nowhere'; give the path of a folder"),
    ],
)
def test_what_is_wrong_in_a_preset_is_said_before_any_work(project: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        overrides_of(_preset(text))


@pytest.mark.parametrize("weights", ["{red: 1, blue: 3}", "{red: 2, blue: 1}", "balanced"])
def test_a_preset_replaces_a_mapping_whole(project: Path, weights: str) -> None:
    params = load_yaml(Path("params.yaml"))
    Path("params.yaml").write_text(yaml.safe_dump({**params, "class_weights": {"red": 2, "blue": 1}}), encoding="utf-8")
    apply_overrides("params.yaml", overrides_of(_preset(f"seed: 3\nclass_weights: {weights}")))
    assert load_yaml(Path("params.yaml")) == {**params, "seed": 3, "class_weights": yaml.safe_load(weights)}


def test_an_auto_stays_one(project: Path) -> None:
    auto = {"image_size": "auto", "weights": "auto"}
    params = load_yaml(Path("params.yaml")) | auto | {"backbone": "efficientnet_lite0"}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    assert overrides_of(_preset("backbone: efficientnetb3\nweights: auto\n")) == ['backbone="efficientnetb3"']
    Path("params.yaml").write_text(yaml.safe_dump(params | {"image_size": 224}), encoding="utf-8")
    assert overrides_of(_preset("image_size: auto\n")) == ['image_size="auto"']


def test_a_number_is_the_same_however_it_is_written(project: Path) -> None:
    params = load_yaml(Path("params.yaml")) | {"lr": "2e-4"}  # which PyYAML reads as a string
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    assert overrides_of(_preset("lr: 0.0002\nclass_weights: {red: 1e-2, blue: 2}\n")) == [
        "class_weights={red:0.01,blue:2}"
    ]
    assert overrides_of(_preset("lr: 3e-4\n")) == ["lr=0.0003"]


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_of_the_project_fits_its_params(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert overrides_of(path)


def test_a_preset_runs_as_an_experiment_of_dvc(project: Path) -> None:
    """In a pipeline of one stage, which writes down the params that it was run with."""
    stage = {"cmd": "cp params.yaml seen.yaml", "params": ["lr", "evaluate", "head"], "outs": ["seen.yaml"]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"see": stage}}), encoding="utf-8")
    Path(".gitignore").write_text("pictures\n", encoding="utf-8")
    for command in ("git init -q", "dvc init -q", "git add .", "git commit -qm params"):
        subprocess.run(command.split(), check=True)
    before = read_params(Path("params.yaml"))
    path = _preset("lr: 3e-4\nhead: {units: [9, 8]}\nevaluate: {views: all}\n")
    done = subprocess.run(
        [sys.executable, "-m", "transfer", "preset", str(path), "--name", "tried"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('preset.yaml: evaluate.views="all" head.units=[9,8] lr=0.0003\n')
    seen = read_params(Path("seen.yaml"))
    assert (seen.lr, seen.head.units, seen.evaluate.views) == (3e-4, (9, 8), "all")
    assert (seen.seed, seen.head.epochs) == (before.seed, before.head.epochs)
    assert load_yaml(Path("params.yaml")) == load_yaml(Path("seen.yaml"))
    listed = subprocess.run(["dvc", "exp", "list", "--name-only"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["tried"]
