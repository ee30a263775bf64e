"""Batches for `fit`: in training, in every epoch each image once, in a new order, in one of its views."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from transfer.core.arrays import Floats
from transfer.core.params import Augmentation, LabelKind
from transfer.records.activations import open_activations
from transfer.training.targets import make_targets

EVALUATION_BATCH = 128


@dataclass(frozen=True)
class Batching:
    """How images become batches.

    Args:
        labels: the kind of targets: see `training.targets`.
        batch_size: images in a batch; the last one of an epoch may be smaller.
        seed: with the number of the epoch it fixes order, views and changes, whatever came before. None keeps the
            order, for validation.
        augmentation: changes of pixels on the fly; None for none.
    """

    labels: LabelKind
    batch_size: int
    seed: int | None
    augmentation: Augmentation | None = None

    def in_order(self) -> "Batching":
        """Return how those of the validation split do."""
        return Batching(self.labels, EVALUATION_BATCH, None)


class Batches(ABC):
    """The images of a split, to be fed to a network: in an epoch each once.

    Args:
        targets: a probability of each class for each image, unmixed, in the records' order, float32 (n, classes).
        batch_size: images in a batch; the last one of an epoch may be smaller.
        seed: of the order of training; None keeps the records' order, for validation.
    """

    def __init__(self, targets: Floats, batch_size: int, seed: int | None) -> None:
        self.targets = targets
        self._batch_size, self._seed = batch_size, seed

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(len(self.targets) / self._batch_size)

    @property
    def steps(self) -> int | None:
        """What `fit` takes as `steps_per_epoch`: batches in an epoch of training; None in validation, which ends."""
        return None if self._seed is None else len(self)

    def _draw(self, epoch: int, choices: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the order of an epoch, counted from 0, and for each image in it a number below `choices`."""
        count = len(self.targets)
        if self._seed is None:
            return np.arange(count), np.zeros(count, np.int64)
        random = np.random.default_rng([self._seed, epoch + 1])  # from 1 on, for the results of earlier versions
        return random.permutation(count), random.integers(choices, size=count)

    @abstractmethod
    def feed(self, first_epoch: int = 0) -> Any:
        """Return what `fit`, `evaluate` and `predict` of a Keras model take: training's epochs from one on, counted
        from 0, without an end; of validation one epoch.
        """


class ViewBatches(Batches):
    """Batches of inputs float32 (n, …) and targets float32 (n, classes), from arrays.

    Args:
        views: for each view an array of all images (n, …); they may lie on disk. Without a seed, the first is taken.
        targets, batch_size, seed: see `Batches`.
    """

    def __init__(
        self, views: Sequence[NDArray[np.floating]], targets: Floats, batch_size: int, seed: int | None
    ) -> None:
        super().__init__(targets, batch_size, seed)
        self._views = views

    def epoch(self, number: int = 0) -> Iterator[tuple[Floats, Floats]]:
        """Yield the batches of an epoch, counted from 0."""
        order, view_of = self._draw(number, len(self._views))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            inputs = np.stack([self._views[view][row] for row, view in zip(rows, view_of[rows], strict=True)])
            yield inputs.astype(np.float32), self.targets[rows]

    def feed(self, first_epoch: int = 0) -> Any:
        """Return batches as `Batches` says."""

        def batches() -> Iterator[tuple[Floats, Floats]]:
            numbers = [0] if self._seed is None else itertools.count(first_epoch)
            return itertools.chain.from_iterable(map(self.epoch, numbers))

        if keras.backend.backend() != "tensorflow":  # benchmarks.accelerator, where there is no tf.data
            return batches()
        import tensorflow as tf

        from transfer.records.tfrecords import UNTUNED

        inputs = tf.TensorSpec((None, *self._views[0].shape[1:]), tf.float32)
        signature = (inputs, tf.TensorSpec((None, self.targets.shape[1]), tf.float32))
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
        count = tf.data.INFINITE_CARDINALITY if self.steps else len(self)
        return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2).with_options(UNTUNED)


def _cached(folder: Path, classes: tuple[str, ...], batching: Batching) -> ViewBatches:
    cached = open_activations(folder)
    targets = make_targets(cached.labels, cached.soft_labels, classes, batching.labels)
    return ViewBatches(cached.views, targets, batching.batch_size, batching.seed)


def validation_batches(folder: Path, classes: tuple[str, ...], batching: Batching) -> ViewBatches:
    """Return batches of the validation split's cached activations, in order."""
    return _cached(folder / "validation", classes, batching.in_order())


def view_batches(folder: Path, classes: tuple[str, ...], batching: Batching) -> tuple[ViewBatches, ViewBatches]:
    """Return batches of cached activations to train on, and those of the validation split, in order."""
    return _cached(folder / "train", classes, batching), validation_batches(folder, classes, batching)
