"""Activations of a frozen trunk on disk: computed once, read in every epoch.

A split is a folder of view-0.npy, view-1.npy, … (float16, a row for each image, in the records' order), labels.npy
(int64) and soft_labels.npy (float32, NaN where there is none). NumPy's format has no timestamp and can be mapped into
memory. Beside the splits stands cached.json, which says of which cut they are and how many views of each split there
are: of a split that training reads from the records there are none.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from transfer.backbones.names import resolve_cut
from transfer.batches import EVALUATION_BATCH, ViewBatches
from transfer.cost import write_json
from transfer.engine import BATCH, Engine, EngineName, check_agreement, make_engine
from transfer.errors import UserError
from transfer.params import LabelKind
from transfer.progress import progress_bar
from transfer.records import normalise, read_records
from transfer.spec import Spec
from transfer.targets import targets
from transfer.views import apply_view, count_views

STORED = np.float16


@dataclass(frozen=True)
class Plan:
    """What training above a cut reads.

    `cut` is the last frozen block, or "input" where nothing is frozen: the activations would then be the pixels, and
    none are cached. `augment` is "cached", "none" or "on_the_fly" (see `transfer.params.Finetune`). `views` is the
    number of views of a training image that come up: cached, or made when an image is read.
    """

    cut: str
    augment: str
    views: int

    @property
    def from_pixels(self) -> bool:
        """Tell whether training reads the training images themselves and not their activations."""
        return self.cut == "input" or self.augment == "on_the_fly"

    @property
    def cached(self) -> dict[str, int]:
        """The number of cached views of each split."""
        return {"train": 0 if self.from_pixels else self.views, "validation": 0 if self.cut == "input" else 1}

    def describe(self) -> str:
        """Say in a line what is trained on, and what of params.yaml that leaves without effect."""
        views = "each image as it is" if self.views == 1 else f"a random one of {self.views} views of each image"
        where = "the whole network runs" if self.cut == "input" else f"the trunk below {self.cut} runs"
        changes = " and changed at random" if self.augment == "on_the_fly" else "; finetune.augmentation has no effect"
        source = f"pixels: {where} in every step" if self.from_pixels else f"cached activations at the cut {self.cut}"
        return f"{source}; {views}{changes}"


def make_plan(backbone: str, cut: str, augment: str, views: str | int, symmetry: str, key: str) -> Plan:
    """Work out what params.yaml asks for; `key` is the section that `views` stands in.

    Raises:
        UserError: no such cut, or more views than the dataset's symmetry allows.
    """
    count = count_views(views, symmetry, f"{key}.views")
    return Plan(resolve_cut(backbone, cut), augment, 1 if augment == "none" else count)


@dataclass(frozen=True)
class Activations:
    """The activations of a split: for each view an array (n, …), float16, on disk; labels as in `records.Batch`."""

    views: list[NDArray[np.float16]]
    labels: NDArray[np.int64]
    soft_labels: NDArray[np.float32]


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
    labels, soft_labels = [], []

    def inputs() -> Iterator[NDArray[np.float32]]:
        for batch in read_records(records, spec, BATCH):
            labels.append(batch.labels)
            soft_labels.append(batch.soft_labels)
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
    np.save(folder / "soft_labels.npy", np.concatenate(soft_labels))


def embed_splits(
    trunk: keras.Model, records: tuple[Path, ...], spec: Spec, plan: Plan, engine: EngineName, folder: Path
) -> int:
    """Compute and write what the plan wants cached of each split, say so, and return the number of views.

    Raises:
        UserError: not enough space, an engine that does not agree with TensorFlow, or see `embed`.
    """
    views = {split: plan.cached[split.name] for split in records}
    count = sum(spec.counts[split.name] * number for split, number in views.items())
    needed = bytes_needed(trunk, count)
    print(f"will write {needed / 1e6:,.0f} MB: {trunk.output_shape[1:]} float16 of {count} views")
    require_space(needed, folder)
    if count:
        runner = make_engine(trunk, engine)
        images = normalise(next(read_records(records[0], spec, BATCH)).pixels)
        difference = check_agreement(runner, trunk, images)
        print(f"computed by {runner.name}, within {difference:.1e} of TensorFlow")
    for split, number in views.items():
        if number:
            embed(runner, trunk, split, spec, number, folder / split.name)
        print(f"{split.name}: {number or 'no'} views cached" + ("" if number else ", finetune reads the images"))
    write_json({"cut": plan.cut, "views": plan.cached}, folder / "cached.json")
    return count


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
    return Activations(views, labels, np.load(folder / "soft_labels.npy"))


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
