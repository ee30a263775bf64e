"""Batches for `fit` from cached activations."""

from pathlib import Path

from transfer.core.params import LabelKind
from transfer.records.activations import open_activations
from transfer.training.batches import EVALUATION_BATCH, Batching, ViewBatches
from transfer.training.targets import make_targets


def view_batches(folder: Path, classes: tuple[str, ...], batching: Batching) -> tuple[ViewBatches, ViewBatches]:
    """Return batches of cached activations to train on, and those of the validation split, in order."""
    train = open_activations(folder / "train")
    targets = make_targets(train.labels, train.soft_labels, classes, batching.labels)
    batches = ViewBatches(train.views, targets, batching.batch_size, batching.seed)
    return batches, validation_batches(folder, classes, batching.labels)


def validation_batches(folder: Path, classes: tuple[str, ...], kind: LabelKind) -> ViewBatches:
    """Return batches of the validation split's cached activations, in order."""
    validation = open_activations(folder / "validation")
    targets = make_targets(validation.labels, validation.soft_labels, classes, kind)
    return ViewBatches(validation.views, targets, EVALUATION_BATCH, None)
