"""Batches for `fit` from cached activations."""

from pathlib import Path

from transfer.activations import open_activations
from transfer.batches import EVALUATION_BATCH, ViewBatches
from transfer.params import LabelKind
from transfer.targets import targets


def view_batches(
    folder: Path, classes: tuple[str, ...], kind: LabelKind, batch_size: int, seed: int
) -> tuple[ViewBatches, ViewBatches]:
    """Return batches of cached activations to train on, and those of the validation split, in order."""
    train = open_activations(folder / "train")
    aims = targets(train.labels, train.soft_labels, classes, kind)
    return ViewBatches(train.views, aims, batch_size, seed), validation_batches(folder, classes, kind)


def validation_batches(folder: Path, classes: tuple[str, ...], kind: LabelKind) -> ViewBatches:
    """Return batches of the validation split's cached activations, in order."""
    validation = open_activations(folder / "validation")
    aims = targets(validation.labels, validation.soft_labels, classes, kind)
    return ViewBatches(validation.views, aims, EVALUATION_BATCH, None)
