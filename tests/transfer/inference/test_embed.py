"""Tests of transfer/inference/embed.py."""

import pickle
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import write_records
from tests.transfer.dataset.test_preprocess import OneByOne
from transfer.core.errors import UserError
from transfer.core.spec import Spec
from transfer.inference import embed as embedding
from transfer.inference.embed import (
    BackboneTrunk,
    EmbedRows,
    Place,
    TrunkEngine,
    backbone_trunk,
    embed,
    embed_splits,
    in_passes,
)
from transfer.inference.engines import EngineName
from transfer.records import tfrecords as records
from transfer.records.activations import Plan, open_activations
from transfer.records.tfrecords import Example, normalise
from transfer.records.views import apply_view
from transfer.workers.runners import LocalRunner

SPEC = Spec(("one", "two"), None, "dihedral", 8, 3, {"train": 40})


@dataclass(frozen=True)
class SmallTrunk:
    """A convolution, times a number."""

    scale: float = 1.0

    def build(self) -> keras.Model:
        entry = keras.Input((8, 8, 3))
        x = layers.Conv2D(2, 3, padding="same", kernel_initializer=keras.initializers.HeNormal(0))(entry)
        return keras.Model(entry, layers.Rescaling(self.scale)(x))


def _records(folder: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    write_records((Example(f"{i}.png", pixels[i], i % 2, i / 40, 1.0) for i in range(40)), folder, 8 * 8 * 3)
    return pixels


@pytest.fixture
def split_across(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records in shards that end within a batch, to be done in four items of work."""
    monkeypatch.setattr(embedding, "BATCH", 4)
    monkeypatch.setattr(embedding, "BATCHES", 3)
    monkeypatch.setattr(records, "SHARD_BYTES", 7 * 8 * 8 * 3)
    _records(tmp_path / "train")
    return tmp_path


def _work(folder: Path, views: int, trunk: SmallTrunk | None = None, engine: EngineName = "auto") -> EmbedRows:
    train = folder / "train"
    return EmbedRows(TrunkEngine(trunk or SmallTrunk(), engine, train, SPEC), train, (Place(folder / "out", views),))


def test_activations_are_the_trunk_of_every_view_in_order(tmp_path: Path) -> None:
    pixels = _records(tmp_path / "train")
    work = _work(tmp_path, 8)
    embed(LocalRunner(), work)
    stored, trunk = open_activations(tmp_path / "out"), SmallTrunk().build()
    np.testing.assert_array_equal(stored.labels, np.arange(40) % 2)
    np.testing.assert_array_equal(stored.soft_labels, np.arange(40, dtype=np.float32) / np.float32(40))
    assert len(stored.views) == 8
    for view, values in enumerate(stored.views):
        assert values.dtype == np.float16
        expected = trunk(normalise(apply_view(pixels, view)), training=False).numpy()
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-3)
    written = sum(file.stat().st_size - 128 for file in (tmp_path / "out").glob("view-*.npy"))
    assert written == work.bytes


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_however_the_rows_are_divided_the_bytes_are_the_same(split_across: Path, engine: EngineName) -> None:
    assert len(list((split_across / "train").iterdir())) == 6
    work = _work(split_across, 2, engine=engine)
    assert len(embed(LocalRunner(), work)) == 1
    folder, other = split_across / "out", split_across / "divided"
    divided = replace(work, places=(Place(other, 2),))
    assert len(embed(OneByOne(), divided)) == 4
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["labels.npy", "soft_labels.npy", "view-0.npy", "view-1.npy"]
    for name in names:
        assert (other / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize("missing", ["00001", "00005"])
def test_a_shard_that_is_missing_is_seen_by_who_reads_its_rows(split_across: Path, missing: str) -> None:
    (split_across / f"train/{missing}.tfrecord").write_bytes(b"")
    with pytest.raises(UserError, match=r"train: expected (12|4) records, received \d"):
        embed(OneByOne(), _work(split_across, 1))


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (1e6, r"train: float16 cannot store activations of up to \d\.\de\+06 .*; use other weights"),
        (1e-7, r"train: float16 cannot store activations of up to \d\.\de-07 .*; use other weights"),
        (float("nan"), "train: the backbone gives activations that are NaN or infinite; its weights"),
    ],
)
def test_activations_that_float16_does_not_hold_are_refused(scale: float, message: str, tmp_path: Path) -> None:
    _records(tmp_path / "train")
    work = _work(tmp_path, 1, SmallTrunk(scale), "tensorflow")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embedding, "check_agreement", lambda *_: 0.0)  # which refuses NaN before
        with pytest.raises(UserError, match=message):
            embed(LocalRunner(), work)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 2e4])
def test_what_float16_loses_is_a_two_thousandth(scale: float, tmp_path: Path) -> None:
    pixels = _records(tmp_path / "train")
    embed(LocalRunner(), _work(tmp_path, 1, SmallTrunk(scale), "tensorflow"))
    expected = SmallTrunk(scale).build()(normalise(pixels), training=False).numpy()
    (stored,) = open_activations(tmp_path / "out").views
    assert np.max(np.abs(stored - expected)) < 2**-11 * np.max(np.abs(expected))


def test_splits_are_embedded_as_planned_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _records(tmp_path / "train")
    shutil.copytree(tmp_path / "train", tmp_path / "validation")
    spec = Spec(("one", "two"), None, "dihedral", 8, 3, {"train": 40, "validation": 40})
    splits = tmp_path / "train", tmp_path / "validation"
    engine = TrunkEngine(SmallTrunk(), "auto", splits[0], spec)
    embed_splits(LocalRunner(), engine, splits, {tmp_path / "out": Plan("stem", "on_the_fly", 8)})
    assert "will write 0 MB: (8, 8, 2) float16 of each view\ncomputed by openvino" in capsys.readouterr().out
    assert not (tmp_path / "out/train").exists()
    assert len(open_activations(tmp_path / "out/validation").views) == 1


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_one_pass_gives_at_each_cut_the_bytes_of_a_pass_of_its_own(
    tmp_path: Path, tiny_backbone: None, name: EngineName
) -> None:
    from transfer.networks.backbones.registry import BACKBONES

    _records(tmp_path / "train")
    BACKBONES["efficientnet_lite0"].build(8).save_weights(tmp_path / "backbone.weights.h5")

    def written(plans: dict[str, Plan]) -> dict[Path, bytes]:
        cuts = tuple(plan.cut for plan in plans.values())
        trunk = backbone_trunk("efficientnet_lite0", 8, tmp_path / "backbone.weights.h5", cuts, "average")
        engine = TrunkEngine(trunk, name, tmp_path / "train", SPEC)
        folders = {tmp_path / "out" / folder: plan for folder, plan in plans.items()}
        embed_splits(LocalRunner(), engine, (tmp_path / "train",), folders)
        return {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.npy")}

    plans = {"high": Plan("top", "cached", 8), "low": Plan("block1", "none", 1)}
    together = written(plans)
    shutil.rmtree(tmp_path / "out")
    for folder, plan in plans.items():
        alone = written({folder: plan})
    assert together == alone
    assert len(together) == 8 + 1 + 2 * 2


def test_plans_share_a_pass_unless_that_would_compute_more() -> None:
    high, low = Path("high"), Path("low")
    head, seldom = Plan("top", "cached", 8), Plan("top", "cached", 2)
    for plan in (Plan("block1", "cached", 8), Plan("block1", "none", 1), Plan("block1", "on_the_fly", 8)):
        assert in_passes({high: head, low: plan}) == [{high: head, low: plan}]
    many = Plan("block1", "cached", 8)
    assert in_passes({high: seldom, low: many}) == [{high: seldom}, {low: many}]
    assert in_passes({high: head, low: Plan("input", "cached", 8)}) == [{high: head}]


def test_weights_that_changed_since_are_refused(tmp_path: Path, tiny_backbone: None) -> None:
    from transfer.networks.backbones.registry import BACKBONES

    weights = tmp_path / "backbone.weights.h5"
    BACKBONES["efficientnet_lite0"].build(32).save_weights(weights)
    trunk = backbone_trunk("efficientnet_lite0", 32, weights, ("block1",), "average")
    assert pickle.loads(pickle.dumps(trunk)) == trunk
    assert trunk.build().outputs[0].shape == (None, 16, 16, 8)
    with pytest.raises(
        UserError, match=rf"backbone.weights.h5: expected a file with SHA-256 0, received one with {trunk.sha256}"
    ):
        replace(trunk, sha256="0").build()
    assert isinstance(trunk, BackboneTrunk)
