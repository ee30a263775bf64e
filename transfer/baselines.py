"""Inputs of the baselines: the records' images, averaged down once, in all views."""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from transfer.engine import BATCH
from transfer.records import normalise, read_records
from transfer.spec import Spec
from transfer.views import apply_view


def small_images(
    trunk: keras.Model, records: Path, spec: Spec, views: int
) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    """Return the images of a split as `trunk` shrinks them, float32 (n, s, s, 3), once for each view, and the labels.

    The views share their memory: shrinking by whole factors and turning can be exchanged.
    """
    images, labels = [], []
    for batch in read_records(records, spec, BATCH):
        images.append(keras.ops.convert_to_numpy(trunk(normalise(batch.pixels), training=False)))
        labels.append(batch.labels)
    small = np.concatenate(images)
    return [apply_view(small, view) for view in range(views)], np.concatenate(labels)
