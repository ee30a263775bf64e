"""Activations of a frozen trunk on disk: computed once, read in every epoch.

A split is a folder of view-0.npy, view-1.npy, … (float16, a row for each image, in the records' order) and
labels.npy (int64). NumPy's format has no timestamp and can be mapped into memory.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from transfer.batches import EVALUATION_BATCH, ViewBatches
from transfer.engine import BATCH, Engine
from transfer.errors import UserError
from transfer.progress import progress_bar
from transfer.records import normalise, read_records
from transfer.spec import Spec
from transfer.views import apply_view

STORED = np.float16


@dataclass(frozen=True)
class Activations:
    """The activations of a split: for each view an array (n, …), float16, on disk; labels int64 (n,)."""

    views: list[NDArray[np.float16]]
    labels: NDArray[np.int64]


def bytes_needed(trunk: keras.Model, images: int) -> int:
    """Return the size of the activations of that many images."""
    shape: tuple[int, ...] = trunk.output_shape[1:]
    return images * math.prod(shape) * np.dtype(STORED).itemsize


def require_space(needed: int, folder: Path) -> None:
    """Check that the disk holds what will be written.

    Raises:
        UserError: it has less space left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: expected {needed / 1e6:,.0f} MB of free disk for the activations, received {free / 1e6:,.0f} "
            "MB; fewer views, a higher cut or smaller images need less (params.yaml)"
        )


def embed(engine: Engine, trunk: keras.Model, records: Path, spec: Spec, views: int, folder: Path) -> None:
    """Compute the trunk's activations for all images of a split and the first `views` views, and write them.

    Raises:
        UserError: damaged records, or activations beyond the range of float16 (65504).
    """
    folder.mkdir(parents=True)
    shape = (spec.counts[records.name], *trunk.output_shape[1:])
    files = [np.lib.format.open_memmap(_view_file(folder, view), "w+", STORED, shape) for view in range(views)]
    labels: list[NDArray[np.int64]] = []

    def inputs() -> Iterator[NDArray[np.float32]]:
        for batch in read_records(records, spec, BATCH):
            labels.append(batch.labels)
            for view in range(views):
                yield np.ascontiguousarray(normalise(apply_view(batch.pixels, view)))

    start = view = 0
    with progress_bar(shape[0] * views, f"embed {records.name}") as progress:
        for output in engine.run(inputs()):
            if not np.max(np.abs(output)) <= np.finfo(STORED).max:
                raise UserError(f"{records}: expected activations that float16 holds, received larger ones or NaN")
            files[view][start : start + len(output)] = output
            progress.update(len(output))
            view += 1
            if view == views:
                start, view = start + len(output), 0
    np.save(folder / "labels.npy", np.concatenate(labels))


def _view_file(folder: Path, view: int) -> Path:
    return folder / f"view-{view}.npy"


def open_activations(folder: Path) -> Activations:
    """Map the activations of a split into memory.

    Raises:
        UserError: there are none, or not for every image.
    """
    count = len(list(folder.glob("view-*.npy")))
    if count == 0:
        raise UserError(f"{folder}: expected activations (view-0.npy, …), received none: dvc repro embed")
    views = [np.load(_view_file(folder, view), mmap_mode="r") for view in range(count)]
    labels = np.load(folder / "labels.npy")
    if any(len(view) != len(labels) for view in views):
        raise UserError(f"{folder}: expected {len(labels)} rows a view, received {[len(view) for view in views]}")
    return Activations(views, labels)


def view_batches(folder: Path, classes: int, batch_size: int, seed: int) -> tuple[ViewBatches, ViewBatches]:
    """Return batches of cached activations to train on, and those of the validation split, in order."""
    train, validation = open_activations(folder / "train"), open_activations(folder / "validation")
    return (
        ViewBatches(train.views, train.labels, classes, batch_size, seed),
        ViewBatches(validation.views, validation.labels, classes, EVALUATION_BATCH, None),
    )
