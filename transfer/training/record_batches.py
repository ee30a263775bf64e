"""Batches for `fit` straight from the records, for what has no cached activations.

Pixels are changed on the fly; those of the baselines are averaged down once, in all views.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from transfer.core.arrays import Floats
from transfer.core.spec import Spec
from transfer.records.activations import Plan
from transfer.records.tfrecords import (
    BATCH,
    CHECKSUM_BYTES,
    FRAME_BYTES,
    LENGTH_BYTES,
    UNTUNED,
    normalise,
    parse,
    read_records,
)
from transfer.records.views import apply_view
from transfer.training.augmentation import OFF, Augmenter
from transfer.training.batches import Batches, Batching, ViewBatches, validation_batches, view_batches
from transfer.training.targets import make_targets

SCALED = normalise(np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1))[:, 0]
"""What `normalise` makes of each value of a pixel: looked up in tf.data, where a division may be computed otherwise."""

MAX_SEED = 2**31 - 1


def record_places(folder: Path) -> list[tuple[Path, int, int]]:
    """Return file, first byte and number of bytes of each record of a split, in the order of writing."""
    places = []
    for shard in sorted(folder.glob("*.tfrecord")):
        size, at = shard.stat().st_size, 0
        with shard.open("rb") as file:
            while at < size:
                file.seek(at)
                (length,) = struct.unpack("<Q", file.read(LENGTH_BYTES))
                places.append((shard, at + LENGTH_BYTES + CHECKSUM_BYTES, length))
                at += length + FRAME_BYTES
    return places


class RecordBatches(Batches):
    """Batches of pixels float32 (n, S, S, 3) in 0–1 and targets float32 (n, classes), from a split's records.

    Each image comes once an epoch, in a truly random order, and is read when its turn comes: what stays in memory is
    the place of each record (some 200 bytes an image), its label and a few batches, however many images there are. A
    record's checksum is verified once, when all of them are read for their labels.

    Args:
        records: folder of the split.
        spec: what the records hold.
        batching: how they become batches.
        views: the first so many views of an image come up (see `Augmenter`).
        parallel: images that are decoded and changed at a time; what comes out does not depend on it.

    Raises:
        UserError: damaged records, not as many as `spec` says, or no soft labels that could be targets.
    """

    def __init__(
        self, records: Path, spec: Spec, batching: Batching, views: int = 1, parallel: int | None = os.cpu_count()
    ) -> None:
        self._spec, self._parallel = spec, parallel
        self._augmenter = Augmenter(batching.augmentation or OFF, views)
        columns = [(batch.labels, batch.soft_labels) for batch in read_records(records, spec, BATCH)]
        labels, soft_labels = (np.concatenate(column) for column in zip(*columns, strict=True))
        targets = make_targets(labels, soft_labels, spec.classes, batching.labels)
        super().__init__(targets, batching.batch_size, batching.seed)
        self._places = record_places(records)

    def _read(self, epoch: int) -> Iterator[tuple[bytes, Floats, int]]:
        """Read the records of an epoch in its order, each with its image's target and seed."""
        for row, seed in zip(*self._draw(int(epoch), MAX_SEED), strict=True):
            shard, start, length = self._places[row]
            with shard.open("rb") as file:
                file.seek(start)
                yield file.read(length), self.targets[row], seed

    def _decode(self, record: tf.Tensor, target: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Turn a record into pixels float32 (S, S, 3), changed at random; target and seed go along."""
        features = parse(record[None], self._spec)
        pixels = tf.gather(SCALED, tf.cast(features["pixels"][0], tf.int32))
        pixels = pixels if self._spec.channels == 3 else tf.repeat(pixels, 3, axis=-1)
        return self._augmenter.image(pixels, seed), target, seed

    def epoch(self, number: int | tf.Tensor) -> tf.data.Dataset:
        """Return the batches of an epoch, counted from 0: pixels and targets."""
        target = tf.TensorSpec((len(self._spec.classes),), tf.float32)
        signature = (tf.TensorSpec((), tf.string), target, tf.TensorSpec((), tf.int32))
        records = tf.data.Dataset.from_generator(self._read, args=(number,), output_signature=signature)
        images = records.map(self._decode, num_parallel_calls=self._parallel, deterministic=True)
        return images.batch(self._batch_size).map(lambda x, y, seeds: self._augmenter.batch(x, y, seeds[0]))

    def feed(self, first_epoch: int = 0) -> tf.data.Dataset:
        """Return batches as `Batches` says."""
        if self._seed is None:
            dataset = self.epoch(0).apply(tf.data.experimental.assert_cardinality(len(self)))
        else:
            dataset = tf.data.Dataset.counter(first_epoch).flat_map(self.epoch)
        return dataset.prefetch(2).with_options(UNTUNED)


def training_data(
    plan: Plan, activations: Path, records: tuple[Path, Path], spec: Spec, batching: Batching
) -> tuple[Batches, Batches]:
    """Return batches to train on and to validate on, cached or from the records as the plan wants it.

    `activations` is the folder of the cached ones; `records` are those of the training and the validation split. Images
    are changed on the fly where the plan says so.

    Raises:
        UserError: damaged or missing records or activations, or no soft labels that could be targets.
    """
    if not plan.from_pixels:
        return view_batches(activations, spec.classes, batching)
    if plan.augment != "on_the_fly":
        batching = replace(batching, augmentation=None)
    train, validation = records
    batches = RecordBatches(train, spec, batching, plan.views)
    if plan.cut == "input":
        return batches, RecordBatches(validation, spec, Batching(batching.labels, BATCH, None))
    return batches, validation_batches(activations, spec.classes, batching)


def _small(trunk: keras.Model, records: Path, spec: Spec, views: int, batching: Batching) -> ViewBatches:
    """Return the images of a split as `trunk` shrinks them, float32 (n, s, s, 3), in so many views.

    The views share their memory: shrinking by whole factors and turning can be exchanged.
    """
    columns = [
        (keras.ops.convert_to_numpy(trunk(normalise(batch.pixels), training=False)), batch.labels, batch.soft_labels)
        for batch in read_records(records, spec, BATCH)
    ]
    small, labels, soft_labels = (np.concatenate(column) for column in zip(*columns, strict=True))
    targets = make_targets(labels, soft_labels, spec.classes, batching.labels)
    turned = [apply_view(small, view) for view in range(views)]
    return ViewBatches(turned, targets, batching.batch_size, batching.seed)


def small_batches(
    trunk: keras.Model, records: tuple[Path, Path], spec: Spec, views: int, batching: Batching
) -> tuple[ViewBatches, ViewBatches]:
    """Return batches of shrunk images to train on, in all views, and those of the validation split, in order.

    Raises:
        UserError: damaged records, or no soft labels that could be targets.
    """
    train, validation = records
    return _small(trunk, train, spec, views, batching), _small(trunk, validation, spec, 1, batching.in_order())
