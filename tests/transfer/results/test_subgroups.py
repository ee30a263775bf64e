"""Tests of transfer/results/subgroups.py."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transfer.core.errors import UserError
from transfer.results.subgroups import read_strata, subgroups

SPLITS = """image,split,label,soft_label,stratum
a.png,test,7,1.0,7/1.0/mono
b.png,train,NA,0.0,NA/0.0/N%2FA
c.png,test,NA,0.0,NA/0.0/N%2FA
"""


def _file(folder: Path) -> Path:
    (folder / "splits.csv").write_text(SPLITS, encoding="utf-8")
    return folder / "splits.csv"


def test_the_values_of_an_image_are_read_from_its_stratum(tmp_path: Path) -> None:
    strata = read_strata(_file(tmp_path), ("probability", "module"), ["c.png", "a.png"])
    assert strata.to_dict("list") == {"probability": ["0.0", "1.0"], "module": ["N/A", "mono"]}


def test_without_columns_there_are_no_subgroups(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("image,split,label,soft_label,stratum\na.png,test,7,,7\n", encoding="utf-8")
    strata = read_strata(tmp_path / "splits.csv", (), ["a.png"])
    predictions = pd.DataFrame({"actual": ["7"], "predicted": ["7"]})
    assert subgroups({"ann": predictions}, strata, None).empty


def test_what_does_not_fit_together_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"splits.csv: expected all test images, received none called 'z.png'"):
        read_strata(_file(tmp_path), ("probability", "module"), ["z.png"])
    with pytest.raises(UserError, match=r"splits.csv: a.png: expected the values of \['module'\], received .*'mono'"):
        read_strata(_file(tmp_path), ("module",), ["a.png"])


def test_scores_of_subgroups_by_hand() -> None:
    """Ten: of four bad ones three are found, of five good ones one is called bad. Two: one image, and that wrong."""
    actual = ["bad"] * 4 + ["good"] * 5 + ["bad"]
    predicted = ["bad"] * 3 + ["good"] + ["bad"] + ["good"] * 4 + ["good"]
    strata = pd.DataFrame({"kind": ["10"] * 9 + ["2"]})
    table = subgroups({"ann": pd.DataFrame({"actual": actual, "predicted": predicted})}, strata, "bad")
    two, ten = table.to_dict("records")  # numbers by size
    assert (ten["value"], ten["images"], ten["accuracy"]) == ("10", 9, pytest.approx(7 / 9, abs=1e-4))
    assert (ten["recall"], ten["f1"]) == (0.75, 0.75)
    assert (ten["accuracy_low"], ten["accuracy_high"]) == (0.3999, 0.9719)  # Clopper-Pearson of 7 in 9
    assert (two["value"], two["images"], two["accuracy"], two["recall"]) == ("2", 1, 0, 0)
    assert (two["accuracy_low"], two["accuracy_high"]) == (0, 0.975)
    assert np.isnan(two["f1"])


def test_without_a_positive_class_there_is_accuracy_alone() -> None:
    predictions = pd.DataFrame({"actual": ["7", "NA", "x"], "predicted": ["7", "NA", "x"]})
    table = subgroups({"ann": predictions}, pd.DataFrame({"kind": ["nan", "b", "b"]}), None)
    assert list(table["value"]) == ["b", "nan"]
    assert table["accuracy"].eq(1).all()
    assert table[["recall", "f1"]].isna().all(axis=None)
