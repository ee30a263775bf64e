"""Compute the activations of a frozen trunk, once for every image and view: see `records.activations`.

Several cuts share a pass: on its way to the highest, an image comes by the others.
"""

import math
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from transfer.core.arrays import Floats
from transfer.core.cuts import Named
from transfer.core.errors import UserError
from transfer.core.files import require_space, sha256_of
from transfer.core.packages import require_sha256
from transfer.core.params import Pooling
from transfer.core.spec import Spec
from transfer.inference.engines import Engine, EngineName, check_agreement, make_engine
from transfer.networks.backbones.registry import frozen_output, trained_backbone
from transfer.networks.seeds import fix_seeds
from transfer.records.activations import STORED, Plan, view_file
from transfer.records.tfrecords import BATCH, Batch, collecting, network_inputs, read_records
from transfer.workers.work import Progress, Runner

BATCHES = 8  # in an item of work: seconds of it, so that the start of each costs little and the last one ends soon


LOST = 2.0**-10
"""Of the largest activation of a batch: twice what rounding to float16 takes where it has all its bits."""
SURE = 2.0**-15, float(np.finfo(STORED).max)
"""Largest activations between which nothing loses more: rounding takes 2^-11 of a value, and of small ones 2^-25."""


class TrunkSource(Hashable, Protocol):
    """Makes a trunk; can be pickled and compared, as frozen dataclasses can, so that each worker makes it once."""

    def build(self) -> keras.Model:
        """Build the trunk, with an output for each cut, and fill it with its weights."""


@dataclass(frozen=True)
class BackboneTrunk:
    """The part of a trained backbone below some cuts (see `backbones.registry.frozen_output`).

    `sha256` is that of the file of weights, so that no worker takes another for it.
    """

    backbone: Named
    image_size: int
    weights: Path
    sha256: str
    cuts: tuple[str, ...]
    pooling: Pooling

    def build(self) -> keras.Model:
        require_sha256(self.weights, self.sha256)
        fix_seeds(0)
        model = trained_backbone(self.backbone, self.image_size, self.weights)
        return keras.Model(model.input, [frozen_output(model, self.backbone, cut, self.pooling) for cut in self.cuts])


def backbone_trunk(
    backbone: Named, image_size: int, weights: Path, cuts: tuple[str, ...], pooling: Pooling
) -> BackboneTrunk:
    """Say how a trunk is made with the weights that are in a file now."""
    return BackboneTrunk(backbone, image_size, weights, sha256_of(weights), cuts, pooling)


@dataclass(frozen=True)
class TrunkEngine:
    """A trunk and the engine that computes it, which is held against TensorFlow on the first images of some records.

    `spec` says what these records, and those of all other splits, hold.
    """

    source: TrunkSource
    name: EngineName
    checked_on: Path
    spec: Spec = field(hash=False)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of an image's activations at each cut."""
        return _built(self.source)[1]

    def ready(self) -> tuple[Engine, float]:
        """Have trunk and engine ready for this and for later work; return the engine and its difference."""
        return _ready(self)


@lru_cache(maxsize=1)  # for the next item of work
def _built(source: TrunkSource) -> tuple[keras.Model, list[tuple[int, ...]]]:
    """Build a trunk that gives the activations at all cuts side by side, (n, values), and return their shapes, too."""
    _ready.cache_clear()  # the engine before goes first
    built = source.build()
    side_by_side = layers.Concatenate()([layers.Flatten()(output) for output in built.outputs])
    return keras.Model(built.input, side_by_side), [tuple(output.shape[1:]) for output in built.outputs]


@lru_cache(maxsize=1)
def _ready(wanted: TrunkEngine) -> tuple[Engine, float]:
    """Make the engine, and hold it against TensorFlow."""
    trunk, shapes = _built(wanted.source)
    engine = make_engine(trunk, wanted.name)
    first = next(network_inputs(read_records(wanted.checked_on, wanted.spec, BATCH), 1))
    return engine, check_agreement(engine, trunk, first, ends_of(shapes))


def ends_of(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Return where values of these shapes, side by side, are to be divided."""
    return list(accumulate(math.prod(shape) for shape in shapes))[:-1]


@dataclass(frozen=True)
class Embedded:
    """What became of a run of rows: their labels, and the engine with its difference from TensorFlow."""

    labels: NDArray[np.int64]
    soft_labels: NDArray[np.float32]
    engine: str
    difference: float


@dataclass(frozen=True)
class Place:
    """Where the activations at a cut go: those of the first `views` views to files in `folder`."""

    folder: Path
    views: int


@dataclass(frozen=True)
class EmbedRows:
    """Compute the activations of some rows of a split, and write them to their places in the files of the views.

    They are whole batches, or end with the split, so that each image is computed among the same others however the
    rows are divided. Files are written and not mapped: on a file system that machines share, a mapped page would carry
    a neighbour's rows along. There is a place for each cut of the trunk.
    """

    engine: TrunkEngine
    records: Path
    places: tuple[Place, ...]

    @property
    def views(self) -> int:
        """Views of an image that are computed."""
        return max(place.views for place in self.places)

    @property
    def bytes(self) -> int:
        """What is written."""
        values = sum(
            place.views * math.prod(shape) for place, shape in zip(self.places, self.engine.shapes, strict=True)
        )
        return self.engine.spec.counts[self.records.name] * values * np.dtype(STORED).itemsize

    def __call__(self, runs: Iterable[range], progress: Progress) -> Embedded:
        given = list(runs)
        rows = range(given[0].start, given[-1].stop)
        engine, difference = self.engine.ready()
        seen: list[Batch] = []
        batches = collecting(read_records(self.records, self.engine.spec, BATCH, rows), seen)
        self._write(engine.run(network_inputs(batches, self.views)), rows, progress)
        labels = np.concatenate([batch.labels for batch in seen])
        soft_labels = np.concatenate([batch.soft_labels for batch in seen])
        return Embedded(labels, soft_labels, engine.name, difference)

    def _write(self, outputs: Iterable[Floats], rows: range, progress: Progress) -> None:
        """Write the views of batch after batch."""
        ends = ends_of(self.engine.shapes)
        to_go, view = self.engine.spec.counts[self.records.name] - rows.start, 0  # rows of a file from here to its end
        with ExitStack() as stack:
            cuts = [
                [stack.enter_context(view_file(place.folder, view).open("r+b")) for view in range(place.views)]
                for place in self.places
            ]
            for output in outputs:
                for files, activations in zip(cuts, np.split(output, ends, axis=1), strict=True):
                    if view < len(files):
                        stored = to_stored(activations, self.records)
                        files[view].seek(-to_go * stored[0].nbytes, os.SEEK_END)
                        files[view].write(stored.data)
                progress(len(output))
                view += 1
                if view == self.views:
                    to_go, view = to_go - len(output), 0


def to_stored(output: NDArray[np.float32], records: Path) -> NDArray[np.float16]:
    """Round the activations of a batch to float16.

    Raises:
        UserError: they are not finite, or lose more than `LOST` of the largest: they go beyond 65504, or are so small
            that float16 has few bits left for them.
    """
    largest = float(np.max(np.abs(output)))
    if not math.isfinite(largest):
        raise UserError(
            f"{records}: the backbone gives activations that are NaN or infinite; its weights may be damaged, or of "
            "another network (weights, in params.yaml)"
        )
    with np.errstate(over="ignore"):
        stored = output.astype(STORED)
    if not SURE[0] <= largest <= SURE[1] and np.max(np.abs(stored - output)) > LOST * largest:
        raise UserError(
            f"{records}: float16 cannot store activations of up to {largest:.1e} (it holds 6e-5 to 65504); use other "
            "weights or another backbone, or for fine-tuning alone another cut (params.yaml)"
        )
    return stored


def in_runs(count: int) -> Iterator[range]:
    """Divide the rows of a split into items of work, each of whole batches but the last."""
    step = BATCH * BATCHES
    return (range(start, min(start + step, count)) for start in range(0, count, step))


def embed(runner: Runner, work: EmbedRows) -> list[Embedded]:
    """Compute the trunk's activations for all images of a split and the first views, and write them.

    Raises:
        UserError: damaged records, activations that float16 does not hold (see `to_stored`), or an engine that does
            not agree with TensorFlow.
    """
    count = work.engine.spec.counts[work.records.name]
    for place, shape in zip(work.places, work.engine.shapes, strict=True):
        for view in range(place.views):
            place.folder.mkdir(parents=True, exist_ok=True)  # the file gets its head, and room for the rows
            np.lib.format.open_memmap(view_file(place.folder, view), "w+", STORED, (count, *shape))
    if not work.views:
        return []
    done = runner.run(work, in_runs(count), count * work.views, f"embed {work.records.name}")
    for place in work.places:
        if place.views:
            np.save(place.folder / "labels.npy", np.concatenate([part.labels for part in done]))
            np.save(place.folder / "soft_labels.npy", np.concatenate([part.soft_labels for part in done]))
    return done


def in_passes(plans: Mapping[Path, Plan]) -> list[dict[Path, Plan]]:
    """Divide plans, those of higher cuts first, into passes of the trunk; one that caches nothing is in none.

    They share one pass, unless a lower cut wants more views: these would be computed further than they are needed.
    """
    cached = {folder: plan for folder, plan in plans.items() if any(plan.cached.values())}
    views = [plan.cached["train"] for plan in cached.values()]
    if views == sorted(views, reverse=True):
        return [cached]
    return [{folder: plan} for folder, plan in cached.items()]


def embed_splits(runner: Runner, engine: TrunkEngine, records: tuple[Path, ...], plans: Mapping[Path, Plan]) -> None:
    """Compute and write what is to be cached of each split, and say so.

    `records` are the folders of the splits. `plans` say what to cache at each cut of the trunk, in their order, by the
    folder that it is written to.

    Raises:
        UserError: not enough space, or see `embed`.
    """
    works = []
    for split in records:
        places = (Place(folder / split.name, plan.cached[split.name]) for folder, plan in plans.items())
        works.append(EmbedRows(engine, split, tuple(places)))
    needed, shapes = sum(work.bytes for work in works), ", ".join(map(str, engine.shapes))
    print(f"will write {needed / 1e6:,.0f} MB: {shapes} float16 of each view")
    folder = next(iter(plans))
    folder.mkdir(parents=True, exist_ok=True)
    require_space(needed, folder, "; fewer views, a higher cut or smaller images need less (params.yaml)")
    done = [part for work in works for part in embed(runner, work)]
    used = ", ".join(sorted({part.engine for part in done}))
    print(f"computed by {used}, within {max(part.difference for part in done):.1e} of TensorFlow")
