"""Compute the activations of a frozen trunk, once for every image and view: see `records.activations`."""

import math
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from transfer.core.errors import UserError
from transfer.core.files import require_space, sha256_of, write_json
from transfer.core.packages import require_sha256
from transfer.core.params import Pooling
from transfer.core.spec import Spec
from transfer.inference.engines import Engine, EngineName, check_agreement, make_engine
from transfer.networks.backbones.registry import trained_backbone
from transfer.networks.network import frozen_trunk
from transfer.networks.seeds import fix_seeds
from transfer.records.activations import STORED, Plan, view_file
from transfer.records.tfrecords import BATCH, Batch, collecting, network_inputs, read_records
from transfer.workers.work import Progress, Runner

BATCHES = 8  # in an item of work: seconds of it, so that the start of each costs little and the last one ends soon


LOST = 2.0**-10
"""Of the largest activation of a batch: twice what rounding to float16 takes where it has all its bits."""
SURE = 2.0**-15, float(np.finfo(STORED).max)
"""Largest activations between which nothing loses more: rounding takes 2^-11 of a value, and of small ones 2^-25."""


class TrunkSource(Protocol):
    """Makes a trunk; can be pickled and compared, as frozen dataclasses can, so that each worker makes it once."""

    def build(self) -> keras.Model:
        """Build the trunk and fill it with its weights."""


@dataclass(frozen=True)
class BackboneTrunk:
    """The part of a trained backbone below a cut (see `networks.network.frozen_trunk`).

    `sha256` is that of the file of weights, so that no worker takes another for it.
    """

    backbone: str
    image_size: int
    weights: Path
    sha256: str
    cut: str
    pooling: Pooling

    def build(self) -> keras.Model:
        require_sha256(self.weights, self.sha256)
        fix_seeds(0)
        model = trained_backbone(self.backbone, self.image_size, self.weights)
        return frozen_trunk(model, self.backbone, self.cut, self.pooling)


def backbone_trunk(backbone: str, image_size: int, weights: Path, cut: str, pooling: Pooling) -> BackboneTrunk:
    """Say how a trunk is made with the weights that are in a file now."""
    return BackboneTrunk(backbone, image_size, weights, sha256_of(weights), cut, pooling)


@dataclass(frozen=True)
class TrunkEngine:
    """A trunk and the engine that computes it, which is held against TensorFlow on the first images of some records.

    `spec` says what these records, and those of all other splits, hold.
    """

    source: TrunkSource
    name: EngineName
    checked_on: Path
    spec: Spec

    def ready(self) -> tuple[Engine, float]:
        """Have trunk and engine ready for this and for later work; return the engine and its difference."""
        kept = _Ready.of(self.source)
        return kept.checked(self), kept.difference


class _Ready:
    """A trunk, kept for the next item of work, and its engine, which has been held against TensorFlow."""

    kept: "_Ready | None" = None

    def __init__(self, source: TrunkSource) -> None:
        self.source, self.trunk = source, source.build()
        self.engine: Engine | None = None
        self.difference = math.nan

    @classmethod
    def of(cls, source: TrunkSource) -> "_Ready":
        if cls.kept is None or cls.kept.source != source:
            cls.kept = None  # the one before goes first
            cls.kept = cls(source)
        return cls.kept

    def checked(self, wanted: TrunkEngine) -> Engine:
        if self.engine is None:
            engine = make_engine(self.trunk, wanted.name)
            first = next(network_inputs(read_records(wanted.checked_on, wanted.spec, BATCH), 1))
            self.difference = check_agreement(engine, self.trunk, first)
            self.engine = engine
        return self.engine


@dataclass(frozen=True)
class Embedded:
    """What became of a run of rows: their labels, and the engine with its difference from TensorFlow."""

    labels: NDArray[np.int64]
    soft_labels: NDArray[np.float32]
    engine: str
    difference: float


@dataclass(frozen=True)
class EmbedRows:
    """Compute the activations of some rows of a split, and write them to their places in the files of the views.

    They are whole batches, or end with the split, so that each image is computed among the same others however the
    rows are divided. Files are written and not mapped: on a file system that machines share, a mapped page would carry
    a neighbour's rows along.
    """

    engine: TrunkEngine
    records: Path
    views: int
    folder: Path

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

    def _write(self, outputs: Iterable[NDArray[np.float32]], rows: range, progress: Progress) -> None:
        """Write the views of batch after batch."""
        start, view = rows.start, 0
        with ExitStack() as stack:
            files = [stack.enter_context(view_file(self.folder, view).open("r+b")) for view in range(self.views)]
            size = view_file(self.folder, 0).stat().st_size
            for output in outputs:
                stored = to_stored(output, self.records)
                row_bytes = stored[0].nbytes
                head = size - self.engine.spec.counts[self.records.name] * row_bytes
                files[view].seek(head + start * row_bytes)
                files[view].write(stored.data)
                progress(len(output))
                view += 1
                if view == self.views:
                    start, view = start + len(output), 0


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


def embed(runner: Runner, work: EmbedRows) -> list[Embedded]:
    """Compute the trunk's activations for all images of a split and the first views, and write them.

    Raises:
        UserError: damaged records, activations that float16 does not hold (see `to_stored`), or an engine that does
            not agree with TensorFlow.
    """
    work.folder.mkdir(parents=True)
    count = work.engine.spec.counts[work.records.name]
    shape = (count, *_Ready.of(work.engine.source).trunk.output_shape[1:])
    for view in range(work.views):
        np.lib.format.open_memmap(view_file(work.folder, view), "w+", STORED, shape)  # its head, and room for the rows
    step = BATCH * BATCHES
    runs = (range(start, min(start + step, count)) for start in range(0, count, step))
    done = runner.run(work, runs, count * work.views, f"embed {work.records.name}")
    np.save(work.folder / "labels.npy", np.concatenate([part.labels for part in done]))
    np.save(work.folder / "soft_labels.npy", np.concatenate([part.soft_labels for part in done]))
    return done


def bytes_needed(trunk: keras.Model, images: int) -> int:
    """Return the size of the activations of that many images."""
    shape: tuple[int, ...] = trunk.output_shape[1:]
    return images * math.prod(shape) * np.dtype(STORED).itemsize


def embed_splits(runner: Runner, engine: TrunkEngine, records: tuple[Path, ...], plan: Plan, folder: Path) -> int:
    """Compute and write what the plan wants cached of each split, say so, and return the number of views.

    Raises:
        UserError: not enough space, or see `embed`.
    """
    views = {split: plan.cached[split.name] for split in records}
    count = sum(engine.spec.counts[split.name] * number for split, number in views.items())
    trunk = _Ready.of(engine.source).trunk
    needed = bytes_needed(trunk, count)
    print(f"will write {needed / 1e6:,.0f} MB: {trunk.output_shape[1:]} float16 of {count} views")
    folder.mkdir(parents=True, exist_ok=True)
    require_space(needed, folder, "; fewer views, a higher cut or smaller images need less (params.yaml)")
    done: list[Embedded] = []
    for split, number in views.items():
        if number:
            done += embed(runner, EmbedRows(engine, split, number, folder / split.name))
        print(f"{split.name}: {number or 'no'} views cached" + ("" if number else ", finetune reads the images"))
    if done:
        used = ", ".join(sorted({part.engine for part in done}))
        print(f"computed by {used}, within {max(part.difference for part in done):.1e} of TensorFlow")
    write_json({"cut": plan.cut, "views": plan.cached}, folder / "cached.json")
    return count
