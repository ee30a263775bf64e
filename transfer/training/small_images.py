"""Inputs of the baselines: the records' images, averaged down once, in all views."""

from pathlib import Path

import keras
import numpy as np

from transfer.core.spec import Spec
from transfer.records.tfrecords import BATCH, normalise, read_records
from transfer.records.views import apply_view
from transfer.training.batches import Batching, ViewBatches
from transfer.training.targets import make_targets


def _small(trunk: keras.Model, records: Path, spec: Spec, views: int, batching: Batching) -> ViewBatches:
    """Return the images of a split as `trunk` shrinks them, float32 (n, s, s, 3), in so many views.

    The views share their memory: shrinking by whole factors and turning can be exchanged.
    """
    images, labels, soft_labels = [], [], []
    for batch in read_records(records, spec, BATCH):
        images.append(keras.ops.convert_to_numpy(trunk(normalise(batch.pixels), training=False)))
        labels.append(batch.labels)
        soft_labels.append(batch.soft_labels)
    small = np.concatenate(images)
    targets = make_targets(np.concatenate(labels), np.concatenate(soft_labels), spec.classes, batching.labels)
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
