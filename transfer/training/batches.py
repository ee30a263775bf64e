"""Batches for `fit`: in training, in every epoch each image once, in a new order, in one of its views."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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


class Batches(Protocol):
    """What training needs to know of its data, wherever they come from."""

    @property
    def targets(self) -> Floats:
        """A probability of each class for each image, unmixed, in the records' order: float32 (n, classes)."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    @property
    def steps(self) -> int | None:
        """What `fit` takes as `steps_per_epoch`: None where `feed` ends with the epoch by itself."""

    def feed(self, first_epoch: int = 0) -> Any:
        """Return what `fit`, `evaluate` and `predict` of a Keras model take, from an epoch on, counted from 0."""


class ViewBatches(keras.utils.PyDataset):
    """Batches for `fit`: inputs float32 (n, …) and targets float32 (n, classes).

    Args:
        views: for each view an array of all images (n, …); they may lie on disk.
        targets: a probability of each class for each image, float32 (n, classes): see `training.targets`.
        batch_size, seed: see `Batching`; without a seed, the first view is taken.
    """

    steps = None

    def __init__(
        self, views: Sequence[NDArray[np.floating]], targets: Floats, batch_size: int, seed: int | None
    ) -> None:
        super().__init__()
        self._views, self._batch_size, self._seed = views, batch_size, seed
        self.targets = targets
        self._epoch = 0
        self._draw()

    def feed(self, first_epoch: int = 0) -> "ViewBatches":
        """Return these batches: see `Batches`."""
        self._epoch = first_epoch
        self._draw()
        return self

    def _draw(self) -> None:
        if self._seed is None:
            self._order = np.arange(len(self.targets))
            self._view = np.zeros(len(self.targets), np.int64)
            return
        random = np.random.default_rng([self._seed, self._epoch])
        self._order = random.permutation(len(self.targets))
        self._view = random.integers(len(self._views), size=len(self.targets))

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._draw()

    def __len__(self) -> int:
        return math.ceil(len(self.targets) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Floats, Floats]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        inputs = np.stack([self._views[view][row] for row, view in zip(rows, self._view[rows], strict=True)])
        return inputs.astype(np.float32), self.targets[rows]


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
