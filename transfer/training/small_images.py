"""Inputs of the baselines: the records' images, averaged down once, in all views."""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from transfer.core.params import LabelKind
from transfer.core.spec import Spec
from transfer.records.tfrecords import BATCH, normalise, read_records
from transfer.records.views import apply_view
from transfer.training.batches import EVALUATION_BATCH, Batching, ViewBatches
from transfer.training.targets import make_targets


def small_images(
    trunk: keras.Model, records: Path, spec: Spec, views: int, kind: LabelKind
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the images of a split as `trunk` shrinks them, float32 (n, s, s, 3), once for each view, and the targets.

    The views share their memory: shrinking by whole factors and turning can be exchanged.
    """
    images, labels, soft_labels = [], [], []
    for batch in read_records(records, spec, BATCH):
        images.append(keras.ops.convert_to_numpy(trunk(normalise(batch.pixels), training=False)))
        labels.append(batch.labels)
        soft_labels.append(batch.soft_labels)
    small = np.concatenate(images)
    targets = make_targets(np.concatenate(labels), np.concatenate(soft_labels), spec.classes, kind)
    return [apply_view(small, view) for view in range(views)], targets


def small_batches(
    trunk: keras.Model, records: tuple[Path, Path], spec: Spec, views: int, batching: Batching
) -> tuple[ViewBatches, ViewBatches]:
    """Return batches of shrunk images to train on, in all views, and those of the validation split, in order.

    Raises:
        UserError: damaged records, or no soft labels that could be targets.
    """
    train, validation = records
    images = small_images(trunk, train, spec, views, batching.labels)
    return (
        ViewBatches(*images, batching.batch_size, batching.seed),
        ViewBatches(*small_images(trunk, validation, spec, 1, batching.labels), EVALUATION_BATCH, None),
    )
