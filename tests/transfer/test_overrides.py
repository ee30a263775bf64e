"""Tests of transfer/overrides.py."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from transfer.core.errors import UserError
from transfer.core.params import Params
from transfer.core.strict import validate
from transfer.overrides import differences, merged, overlaid, parse

REAL: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("seed=3", {"seed": 3}),
        ("head.units=[64, 32]", {"head": {"units": [64, 32]}}),
        ("baselines.ann.dropout=0.5", {"baselines": {"ann": {"dropout": 0.5}}}),
        ("weights={file: a=b.h5, sha256: 00}", {"weights": {"file": "a=b.h5", "sha256": 0}}),
        ("max_images=null", {"max_images": None}),
    ],
)
def test_an_assignment_is_read_as_dvc_reads_it(assignment: str, expected: dict[str, Any]) -> None:
    assert parse(assignment) == expected


@pytest.mark.parametrize("wrong", ["head.lr", "=1", "head..lr=1", ".lr=1"])
def test_what_is_no_assignment_is_an_error(wrong: str) -> None:
    with pytest.raises(UserError, match=f"-S: expected KEY=VALUE, received {wrong!r}"):
        parse(wrong)


def test_a_value_that_is_no_yaml_is_an_error() -> None:
    with pytest.raises(UserError, match=r"-S head.units: expected a value in YAML, received '\[1'"):
        parse("head.units=[1")


def test_assignments_are_laid_over_a_preset_and_that_over_the_params(tmp_path: Path) -> None:
    preset = tmp_path / "slow.yaml"
    preset.write_text("lr: 1e-4\nhead: {epochs: 7, dropout: 0.1}\n", encoding="utf-8")
    params = overlaid(REAL, preset, ["head.epochs=9", "head.views=2"])
    read = validate(Params, params, Path("params.yaml"))
    assert (read.lr, read.head.epochs, read.head.dropout, read.head.views) == (1e-4, 9, 0.1, 2)
    assert read.head.lr == float(REAL["head"]["lr"])
    assert differences(REAL, params) == {"lr": "1e-4", "head.epochs": 9, "head.dropout": 0.1, "head.views": 2}


def test_nothing_is_changed_in_place() -> None:
    old = {"head": {"units": [1], "lr": 0.5}}
    given = {"head": {"lr": [2]}}
    new = merged(old, given, "-S")
    new["head"]["units"].append(3)
    new["head"]["lr"].append(3)
    assert (old, given) == ({"head": {"units": [1], "lr": 0.5}}, {"head": {"lr": [2]}})


def test_a_section_replaces_a_name_and_a_name_a_section() -> None:
    assert merged({"weights": "none"}, {"weights": {"file": "a"}}, "-S") == {"weights": {"file": "a"}}
    assert merged({"weights": {"file": "a"}}, {"weights": "none"}, "-S") == {"weights": "none"}


def test_an_unknown_key_is_an_error_that_says_where_it_is_from(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^-S: head\.drop: unknown key; did you mean dropout\?$"):
        overlaid(REAL, None, ["head.drop=0.3"])
    with pytest.raises(UserError, match=r"^-S: head\.x: unknown key; use one of pooling, units, "):
        overlaid(REAL, None, ["head.x=0.3"])
    preset = tmp_path / "p.yaml"
    preset.write_text("heads: {}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"p.yaml: heads: unknown key; did you mean head\?$"):
        overlaid(REAL, preset, [])


def test_a_preset_that_is_no_mapping_is_an_error(tmp_path: Path) -> None:
    preset = tmp_path / "p.yaml"
    preset.write_text("- lr\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"p.yaml: expected keys of params.yaml with their values, received \['lr'\]"):
        overlaid(REAL, preset, [])


def test_params_do_not_differ_from_themselves() -> None:
    assert differences(REAL, merged(REAL, {}, "-S")) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"intact": 1.0, "defective": 2.0}, {"cat": 1.0, "dog": 3.0}),
        ({"a": 1.0, "b": 2.0}, {"a": 1.0}),
        ("none", {"a": 1.0, "b": 2.0}),
        ({"a": 1.0, "b": 2.0}, "balanced"),
    ],
)
def test_a_mapping_with_keys_of_the_users_own_is_replaced_whole(old: object, new: object) -> None:
    before = merged(REAL, {"class_weights": old}, "-S")
    after = merged(before, {"class_weights": new}, "-S")
    assert after["class_weights"] == new
    assert differences(before, after) == {"class_weights": new}


def test_a_file_of_weights_is_replaced_whole() -> None:
    one, other = ({"file": f"{name}.h5", "sha256": name * 64} for name in "ab")
    before, after = (merged(REAL, {"weights": weights}, "-S") for weights in (one, other))
    assert merged(before, {"weights": other}, "-S") == after
    assert differences(before, after) == {"weights": other}
