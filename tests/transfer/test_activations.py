"""Tests of transfer/activations.py."""

import shutil
from collections import namedtuple
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import write_records
from transfer.activations import (
    Plan,
    bytes_needed,
    embed,
    embed_splits,
    make_plan,
    open_activations,
    require_space,
    view_batches,
)
from transfer.engine import make_engine
from transfer.errors import UserError
from transfer.records import Example, normalise
from transfer.spec import Spec
from transfer.views import apply_view

SPEC = Spec(("one", "two"), None, "dihedral", 8, 3, {"train": 40})


def _trunk(scale: float = 1.0) -> keras.Model:
    entry = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 3, padding="same", kernel_initializer=keras.initializers.HeNormal(0))(entry)
    return keras.Model(entry, layers.Rescaling(scale)(x))


def _records(folder: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    write_records((Example(f"{i}.png", pixels[i], i % 2, 0.0, 1.0) for i in range(40)), folder, 8 * 8 * 3)
    return pixels


def test_activations_are_the_trunk_of_every_view_in_order(tmp_path: Path) -> None:
    pixels = _records(tmp_path / "train")
    trunk = _trunk()
    embed(make_engine(trunk, "auto"), trunk, tmp_path / "train", SPEC, 8, tmp_path / "out")
    stored = open_activations(tmp_path / "out")
    np.testing.assert_array_equal(stored.labels, np.arange(40) % 2)
    assert len(stored.views) == 8
    for view, values in enumerate(stored.views):
        assert values.dtype == np.float16
        expected = trunk(normalise(apply_view(pixels, view)), training=False).numpy()
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-3)
    written = sum(file.stat().st_size - 128 for file in (tmp_path / "out").glob("view-*.npy"))
    assert written == bytes_needed(trunk, 40 * 8)


def test_activations_beyond_float16_are_refused(tmp_path: Path) -> None:
    _records(tmp_path / "train")
    trunk = _trunk(1e6)
    with pytest.raises(UserError, match="expected activations that float16 holds"):
        embed(make_engine(trunk, "tensorflow"), trunk, tmp_path / "train", SPEC, 1, tmp_path / "out")


def test_a_disk_without_space_is_an_error_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 5_000_000, 5_000_000))
    require_space(4_000_000, tmp_path)
    with pytest.raises(UserError, match=r"expected 6 MB of free disk for the activations, received 5 MB"):
        require_space(6_000_000, tmp_path)


def test_missing_activations_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train: expected activations .*, received none"):
        view_batches(tmp_path, ("a", "b"), "hard", 8, 1)


def test_a_view_that_misses_rows_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "view-0.npy", np.zeros((3, 2), np.float16))
    np.save(tmp_path / "labels.npy", np.zeros(4, np.int64))
    with pytest.raises(UserError, match=r"expected 4 rows a view, received \[3\]"):
        open_activations(tmp_path)


@pytest.mark.parametrize(
    ("cut", "augment", "train", "validation"),
    [
        ("auto", "cached", 8, 1), ("auto", "none", 1, 1), ("auto", "on_the_fly", 0, 1), ("top", "on_the_fly", 0, 1),
        ("input", "cached", 0, 0), ("input", "none", 0, 0), ("input", "on_the_fly", 0, 0),
    ],
)  # fmt: skip
def test_only_what_training_reads_is_cached(cut: str, augment: str, train: int, validation: int) -> None:
    plan = make_plan("efficientnet_lite0", cut, augment, "all", "dihedral", "finetune")
    assert plan.cached == {"train": train, "validation": validation}
    assert plan.from_pixels == (train == 0)
    assert plan.views == (1 if augment == "none" else 8)
    assert plan.cut == ("block5" if cut == "auto" else cut)


def test_splits_are_embedded_as_planned_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _records(tmp_path / "train")
    shutil.copytree(tmp_path / "train", tmp_path / "validation")
    spec = Spec(("one", "two"), None, "dihedral", 8, 3, {"train": 40, "validation": 40})
    records = tmp_path / "train", tmp_path / "validation"
    trunk = _trunk()
    assert embed_splits(trunk, records, spec, Plan("stem", "on_the_fly", 8), "auto", tmp_path / "out") == 40
    assert "train: no views cached, finetune reads the images\nvalidation: 1 views" in capsys.readouterr().out
    assert not (tmp_path / "out/train").exists()
    assert len(open_activations(tmp_path / "out/validation").views) == 1
    assert embed_splits(trunk, records, spec, Plan("input", "cached", 8), "auto", tmp_path / "none") == 0
    assert [file.name for file in (tmp_path / "none").iterdir()] == ["cached.json"]
    assert "will write 0 MB" in capsys.readouterr().out
