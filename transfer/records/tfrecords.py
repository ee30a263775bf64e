"""Images and labels as TFRecords, and back; the one place where pixels are normalised."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer.core.arrays import Floats, Pixels
from transfer.core.errors import UserError
from transfer.core.spec import Spec
from transfer.records.views import apply_view

LENGTH_BYTES, CHECKSUM_BYTES = 8, 4
"""In a TFRecord file a record is: its length (uint64, little-endian), a checksum of that, the record, a checksum of it
(https://www.tensorflow.org/tutorials/load_data/tfrecord)."""
FRAME_BYTES = LENGTH_BYTES + 2 * CHECKSUM_BYTES
BATCH = 32  # images that are read and computed at a time
SHARD_BYTES = 64 * 2**20  # of pixels in a shard: few files, and none too large to send over a network
FEATURES = {
    "image": tf.string, "pixels": tf.string, "label": tf.int64, "soft_label": tf.float32, "confidence": tf.float32,
}  # fmt: skip
"""Of a record, and their types there: see `Example`."""

UNTUNED = tf.data.Options()
"""For every dataset: tf.data's tuner sleeps for up to a minute, and the end of an iterator waits until it wakes."""
UNTUNED.autotune.enabled = False


@dataclass(frozen=True)
class Example:
    """One image with its label: pixels uint8 (size, size, channels); soft_label is NaN where there is none."""

    image: str
    pixels: Pixels
    label: int
    soft_label: float
    confidence: float


@dataclass(frozen=True)
class Batch:
    """Images: names (n,), pixels uint8 (n, size, size, channels), labels int64 (n,), confidence float32 (n,).

    `soft_labels` float32 (n,) are probabilities of the second class, NaN where an image has none.
    """

    images: list[str]
    pixels: Pixels
    labels: NDArray[np.int64]
    soft_labels: NDArray[np.float32]
    confidence: NDArray[np.float32]


def normalise(pixels: Pixels) -> NDArray[np.float32]:
    """Turn uint8 pixels (n, size, size, 1 or 3) into float32 RGB (n, size, size, 3) in 0–1. Nothing else does."""
    scaled = np.divide(pixels, np.float32(255), dtype=np.float32)
    return scaled if pixels.shape[-1] == 3 else np.repeat(scaled, 3, axis=-1)


def serialise(example: Example) -> bytes:
    """Turn an image with its label into a record."""

    def raw(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def real(value: float) -> tf.train.Feature:
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))

    features = {
        "image": raw(example.image.encode()),
        "pixels": raw(example.pixels.tobytes()),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[example.label])),
        "soft_label": real(example.soft_label),
        "confidence": real(example.confidence),
    }
    # Protocol buffers keep the order of a map open; deterministic serialisation sorts it, for equal bytes every time.
    message = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(message.SerializeToString(deterministic=True))


def write_shard(examples: Iterable[Example], path: Path) -> None:
    """Write a shard of records."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(serialise(example))


def records_in_shard(image_bytes: int) -> int:
    """Return how many records all shards but the last have, for images of size × size × channels bytes."""
    return max(1, SHARD_BYTES // image_bytes)


def parse(serialised: tf.Tensor, spec: Spec) -> dict[str, tf.Tensor]:
    """Turn records (n,) into the fields of `Example`, each (n, …); works inside tf.data."""
    described = {name: tf.io.FixedLenFeature([], kind) for name, kind in FEATURES.items()}
    features: dict[str, tf.Tensor] = tf.io.parse_example(serialised, described)
    shape = (-1, spec.image_size, spec.image_size, spec.channels)
    features["pixels"] = tf.reshape(tf.io.decode_raw(features["pixels"], tf.uint8), shape)
    return features


def read_records(folder: Path, spec: Spec, batch_size: int, rows: range | None = None) -> Iterator[Batch]:
    """Read a split in batches, in the order of writing; the last batch may be smaller.

    Args:
        folder: of the split.
        spec: what the records hold.
        batch_size: images in a batch.
        rows: the records to read, counted from 0, without a step; None for all.

    Raises:
        UserError: no records there, a damaged one, or another number of them than `spec` says.
    """
    shards = sorted(str(path) for path in folder.glob("*.tfrecord"))
    if not shards:
        raise UserError(f"{folder}: no records (*.tfrecord); run dvc repro preprocess")
    rows = range(spec.counts[folder.name]) if rows is None else rows
    dataset = _in_rows(shards, spec, rows).batch(batch_size).map(lambda batch: parse(batch, spec)).prefetch(2)
    dataset = dataset.with_options(UNTUNED)
    count = 0
    try:
        for features in dataset.as_numpy_iterator():
            count += len(features["label"])
            images = [name.decode() for name in features["image"]]
            columns = (features[name] for name in ("pixels", "label", "soft_label", "confidence"))
            yield Batch(images, *columns)
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise UserError(
            f"{folder}: a damaged record after about {count} of {len(rows)}: {str(error.message).splitlines()[0]}; "
            "write them again: dvc repro -f preprocess"
        ) from error
    if count != len(rows):
        raise UserError(
            f"{folder}: expected {len(rows)} records, received {count}; write them again: dvc repro -f preprocess"
        )


def collecting(batches: Iterable[Batch], seen: list[Batch]) -> Iterator[Batch]:
    """Pass batches on, and collect in `seen` all of them but the pixels, which are too many to keep."""
    for batch in batches:
        seen.append(replace(batch, pixels=batch.pixels[:0].copy()))  # a mere slice would keep all of them
        yield batch


def network_inputs(batches: Iterable[Batch], views: int) -> Iterator[Floats]:
    """Give what a network takes of each batch, once for each of the first `views` views (see `records.views`)."""
    for batch in batches:
        pixels = normalise(batch.pixels)
        for view in range(views):
            yield np.ascontiguousarray(apply_view(pixels, view))


def _in_rows(shards: list[str], spec: Spec, rows: range) -> tf.data.Dataset:
    """Return the records of some rows. Of each shard come its own; of the last rows' all that follow, to be counted."""
    images = spec.counts[Path(shards[0]).parent.name]
    if len(rows) == images:
        return tf.data.TFRecordDataset(shards)
    in_shard = records_in_shard(spec.image_size**2 * spec.channels)
    dataset = tf.data.TFRecordDataset([])
    for number in range(rows.start // in_shard, len(shards)):
        first, last = (min(in_shard, max(0, row - number * in_shard)) for row in (rows.start, rows.stop))
        if rows.stop < images and last == 0:
            break
        ends = rows.stop == images and number == len(shards) - 1
        shard = tf.data.TFRecordDataset(shards[number]).skip(first)
        dataset = dataset.concatenate(shard if ends else shard.take(last - first))
    return dataset
