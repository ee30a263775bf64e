"""Activations of a frozen trunk on disk: computed once (`inference.embed`), read in every epoch.

A split is a folder of view-0.npy, view-1.npy, … (float16, a row for each image, in the records' order), labels.npy
(int64) and soft_labels.npy (float32, NaN where there is none). NumPy's format has no timestamp and can be mapped into
memory. Beside the splits stands cached.json, which says of which cut they are and how many views of each split there
are: of a split that training reads from the records there are none.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer.core.cuts import Named, resolve_cut
from transfer.core.errors import UserError

STORED = np.float16


@dataclass(frozen=True)
class Plan:
    """What training above a cut reads.

    `cut` is the last frozen block, or "input" where nothing is frozen: the activations would then be the pixels, and
    none are cached. `augment` is "cached", "none" or "on_the_fly" (see `core.params.Finetune`). `views` is the
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


def make_plan(backbone: Named, cut: str, augment: str, views: int) -> Plan:
    """Work out what params.yaml asks for, `views` views of an image if it is augmented.

    Raises:
        UserError: the backbone has no such cut.
    """
    return Plan(resolve_cut(backbone, cut), augment, 1 if augment == "none" else views)


@dataclass(frozen=True)
class Activations:
    """The activations of a split: for each view an array (n, …), float16, on disk; labels as in `records.Batch`."""

    views: list[NDArray[np.float16]]
    labels: NDArray[np.int64]
    soft_labels: NDArray[np.float32]


def view_file(folder: Path, view: int) -> Path:
    """Return the file of a view in the folder of a split."""
    return folder / f"view-{view}.npy"


def open_activations(folder: Path) -> Activations:
    """Map the activations of a split into memory.

    Raises:
        UserError: there are none, or not for every image.
    """
    count = len(list(folder.glob("view-*.npy")))
    if count == 0:
        raise UserError(f"{folder}: no activations (view-0.npy, …); run dvc repro embed")
    views = [np.load(view_file(folder, view), mmap_mode="r") for view in range(count)]
    labels = np.load(folder / "labels.npy")
    if any(len(view) != len(labels) for view in views):
        raise UserError(f"{folder}: expected {len(labels)} rows a view, received {[len(view) for view in views]}")
    return Activations(views, labels, np.load(folder / "soft_labels.npy"))
