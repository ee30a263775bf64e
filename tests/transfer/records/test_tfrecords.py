"""Tests of transfer/records/tfrecords.py."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import write_records
from transfer.core.errors import UserError
from transfer.core.spec import Spec
from transfer.records import tfrecords as records
from transfer.records.tfrecords import Example, collecting, network_inputs, normalise, read_records
from transfer.records.views import apply_view

SPEC = Spec(("no", "yes"), "yes", "none", 6, 1, {"train": 10})
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 6, 6, 1), np.uint8)


def _write(folder: Path) -> Path:
    examples = (Example(f"bild-ä{i}.png", PIXELS[i], i % 2, math.nan if i else 1 / 3, i / 10) for i in range(10))
    assert write_records(examples, folder, 36) == 10
    return folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    batches = list(read_records(_write(tmp_path / "train"), SPEC, 4))
    assert [len(batch.images) for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in batches]), PIXELS)
    assert [name for batch in batches for name in batch.images] == [f"bild-ä{i}.png" for i in range(10)]
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), np.arange(10) % 2)
    weights = np.concatenate([batch.confidence for batch in batches])
    np.testing.assert_allclose(weights, np.arange(10) / 10, atol=1e-7)


def test_the_same_examples_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (_write(tmp_path / name) / "00000.tfrecord" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_shards_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SHARD_BYTES", 4 * 36)
    folder = _write(tmp_path / "train")
    assert [path.name for path in sorted(folder.iterdir())] == [f"0000{i}.tfrecord" for i in range(3)]
    assert sum(len(batch.images) for batch in read_records(folder, SPEC, 3)) == 10


def test_pixels_are_normalised_to_0_to_1() -> None:
    pixels = np.array([0, 51, 255], np.uint8).reshape(1, 3, 1, 1)
    expected = np.repeat(np.array([0, 0.2, 1], np.float32).reshape(1, 3, 1, 1), 3, axis=-1)
    received = normalise(pixels)
    np.testing.assert_array_equal(received, expected)
    assert received.dtype == np.float32
    colour = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    np.testing.assert_allclose(normalise(colour), colour / 255, rtol=1e-6)


def test_a_network_is_given_every_view_of_a_batch_and_its_labels_are_kept_without_pixels(tmp_path: Path) -> None:
    seen: list[records.Batch] = []
    given = list(network_inputs(collecting(read_records(_write(tmp_path / "train"), SPEC, 6), seen), 2))
    assert [images.shape for images in given] == [(6, 6, 6, 3)] * 2 + [(4, 6, 6, 3)] * 2
    for view in range(2):
        np.testing.assert_array_equal(np.concatenate(given[view::2]), normalise(apply_view(PIXELS, view)))
    assert all(images.flags.c_contiguous for images in given)
    assert [name for batch in seen for name in batch.images] == [f"bild-ä{i}.png" for i in range(10)]
    for batch in seen:
        assert batch.pixels.shape == (0, 6, 6, 1)
        assert batch.pixels.base is None, "all pixels are kept"


@pytest.mark.parametrize("place", [5, 60, 200, 700])
def test_a_damaged_byte_is_an_error_that_says_where(tmp_path: Path, place: int) -> None:
    shard = _write(tmp_path / "train") / "00000.tfrecord"
    content = bytearray(shard.read_bytes())
    content[place] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"train: a damaged record after about \d+ of 10: "):
        list(read_records(shard.parent, SPEC, 4))


def test_a_shard_cut_short_is_an_error(tmp_path: Path) -> None:
    shard = _write(tmp_path / "train") / "00000.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"train: a damaged record after about \d of 10"):
        list(read_records(shard.parent, SPEC, 4))


def test_too_few_records_are_an_error(tmp_path: Path) -> None:
    spec = Spec(("no", "yes"), "yes", "none", 6, 1, {"train": 11})
    with pytest.raises(UserError, match=r"train: expected 11 records, received 10"):
        list(read_records(_write(tmp_path / "train"), spec, 4))


def test_records_of_another_image_size_are_an_error(tmp_path: Path) -> None:
    spec = Spec(("no", "yes"), "yes", "none", 5, 1, {"train": 10})
    with pytest.raises(UserError, match=r"train: a damaged record after about \d of 10"):
        list(read_records(_write(tmp_path / "train"), spec, 4))


def test_no_records_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train: no records \(\*\.tfrecord\); run"):
        list(read_records(tmp_path / "train", SPEC, 4))


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    SPEC.write(tmp_path / "spec.json")
    assert Spec.read(tmp_path / "spec.json") == SPEC
    assert SPEC.positive_class == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole shard, and beside it one for damaged copies."""
    folder = tmp_path_factory.mktemp("whole") / "train"
    (folder.parent / "damaged").mkdir()
    return _write(folder)


def _read_all(folder: Path) -> list[bytes]:
    spec = Spec(("no", "yes"), "yes", "none", 6, 1, {"damaged": 10, "train": 10})
    return [batch.pixels.tobytes() for batch in read_records(folder, spec, 4)]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_is_an_error_or_changes_nothing(data: st.DataObject, whole: Path) -> None:
    """Bytes changed, cut off, put in or put behind: checksums and counts see all of it."""
    content = (whole / "00000.tfrecord").read_bytes()
    place = data.draw(st.integers(0, len(content) - 1), "place")
    noise = data.draw(st.binary(min_size=1, max_size=30), "noise")
    damaged = {
        "changed": content[:place] + noise + content[place + len(noise) :],
        "cut": content[:place],
        "longer": content[:place] + noise + content[place:],
        "followed": content + noise,
        "noise": noise,
    }[data.draw(st.sampled_from(["changed", "cut", "longer", "followed", "noise"]), "damage")]
    folder = whole.parent / "damaged"
    (folder / "00000.tfrecord").write_bytes(damaged)
    if damaged == content or (damaged.startswith(content) and len(damaged) - len(content) < 12):
        assert _read_all(folder) == _read_all(whole)  # TensorFlow passes over what is shorter than a record's head
        return
    with pytest.raises(
        UserError, match=r"damaged: (a damaged record after about \d+ of 10|expected 10 records, received)"
    ):
        _read_all(folder)
