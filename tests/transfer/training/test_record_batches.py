"""Tests of transfer/training/record_batches.py."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import write_records
from transfer.core.errors import UserError
from transfer.core.spec import Spec
from transfer.networks.seeds import fix_seeds
from transfer.records import tfrecords as records_module
from transfer.records.tfrecords import Example, normalise
from transfer.records.views import apply_view
from transfer.training.augmentation import OFF
from transfer.training.batches import Batching
from transfer.training.record_batches import SCALED, RecordBatches, record_places

IMAGES, SIZE = 22, 8
SOME = dataclasses.replace(OFF, rotation=0.1, crop=0.3, contrast=0.2, mixup=0.4, cutmix=0.4)


def _spec(channels: int = 3) -> Spec:
    return Spec(("one", "two", "three"), None, "dihedral", SIZE, channels, {"train": IMAGES})


@pytest.fixture(params=[3, 1])
def pixels(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Records in tmp_path/train, in several shards."""
    channels: int = request.param
    monkeypatch.setattr(records_module, "SHARD_BYTES", 9 * SIZE * SIZE * channels)
    values = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, channels), np.uint8)
    examples = (Example(f"{i}.png", values[i], i % 3, 0.0, 1.0) for i in range(IMAGES))
    write_records(examples, tmp_path / "train", SIZE * SIZE * channels)
    assert len(list((tmp_path / "train").glob("*.tfrecord"))) == 3
    return values


def _epoch(batches: RecordBatches, number: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*batches.epoch(number).as_numpy_iterator(), strict=True)
    assert len(images) == len(batches)
    return np.concatenate(images), np.concatenate(labels)


def _bytes(batches: RecordBatches, number: int) -> bytes:
    return b"".join(part.tobytes() for part in _epoch(batches, number))


def test_unchanged_pixels_are_those_of_normalise_bit_for_bit(pixels: np.ndarray, tmp_path: Path) -> None:
    batches = RecordBatches(tmp_path / "train", _spec(pixels.shape[-1]), Batching("hard", 5, None))
    images, labels = _epoch(batches, 0)
    assert images.tobytes() == normalise(pixels).tobytes()
    np.testing.assert_array_equal(labels, np.eye(3)[np.arange(IMAGES) % 3])
    np.testing.assert_array_equal(batches.targets, labels)
    every = np.arange(256, dtype=np.uint8)[:, None]
    assert normalise(every)[:, 0].tobytes() == SCALED.tobytes()


def test_an_epoch_has_every_image_once_with_its_label_in_a_valid_view(pixels: np.ndarray, tmp_path: Path) -> None:
    batches = RecordBatches(tmp_path / "train", _spec(pixels.shape[-1]), Batching("hard", 5, 1), 2)
    known = {normalise(apply_view(pixels, view))[i].tobytes(): (i, view) for i in range(IMAGES) for view in range(2)}
    orders, views = [], set()
    for epoch in range(3):
        images, labels = _epoch(batches, epoch)
        found = [known[image.tobytes()] for image in images]
        orders.append([i for i, _ in found])
        views |= {view for _, view in found}
        assert sorted(orders[-1]) == list(range(IMAGES))
        np.testing.assert_array_equal(np.argmax(labels, axis=1), np.array(orders[-1]) % 3)
    assert len({tuple(order) for order in orders}) == 3
    assert views == {0, 1}
    assert any(abs(a - b) > IMAGES // 2 for a, b in zip(orders[0], orders[0][1:], strict=False))  # across shards


@pytest.mark.parametrize("pixels", [3], indirect=True)
def test_seed_and_epoch_fix_every_byte_on_however_many_threads(pixels: np.ndarray, tmp_path: Path) -> None:
    fix_seeds(0)
    one = RecordBatches(tmp_path / "train", _spec(), Batching("hard", 5, 1, SOME), 8, parallel=1)
    first = [_bytes(one, epoch) for epoch in range(3)]
    fix_seeds(9)
    four = RecordBatches(tmp_path / "train", _spec(), Batching("hard", 5, 1, SOME), 8, parallel=4)
    assert _bytes(four, 2) == first[2]  # without the epochs before it
    assert _bytes(four, 0) == first[0]
    assert len(set(first)) == 3
    assert _bytes(RecordBatches(tmp_path / "train", _spec(), Batching("hard", 5, 2, SOME), 8), 0) != first[0]


@pytest.mark.parametrize("pixels", [3], indirect=True)
def test_the_feed_is_epoch_after_epoch(pixels: np.ndarray, tmp_path: Path) -> None:
    batches = RecordBatches(tmp_path / "train", _spec(), Batching("hard", 5, 1, SOME), 8)
    assert batches.steps == len(batches) == 5
    fed = list(batches.feed().take(10).as_numpy_iterator())
    expected = [batch for epoch in range(2) for batch in batches.epoch(epoch).as_numpy_iterator()]
    for (images, labels), (x, y) in zip(fed, expected, strict=True):
        np.testing.assert_array_equal(images, x)
        np.testing.assert_array_equal(labels, y)
    validation = RecordBatches(tmp_path / "train", _spec(), Batching("hard", 5, None))
    assert validation.steps is None
    assert int(validation.feed().cardinality()) == 5
    assert isinstance(validation.feed(), tf.data.Dataset)


def test_places_are_those_of_the_records(pixels: np.ndarray, tmp_path: Path) -> None:
    places = record_places(tmp_path / "train")
    assert len(places) == IMAGES
    for (shard, start, length), image in zip(places, pixels, strict=True):
        record = shard.read_bytes()[start : start + length]
        features = records_module.parse([record], _spec(pixels.shape[-1]))
        np.testing.assert_array_equal(features["pixels"][0], image)


@pytest.mark.parametrize("pixels", [3], indirect=True)
def test_a_damaged_record_is_an_error_before_training_begins(pixels: np.ndarray, tmp_path: Path) -> None:
    shard = tmp_path / "train/00001.tfrecord"
    content = bytearray(shard.read_bytes())
    content[200] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"train: a damaged record after about \d+ of 22"):
        RecordBatches(tmp_path / "train", _spec(), Batching("hard", 5, 1))
