"""All images that could be decoded, in parts on disk, while it is not known yet which split each belongs to."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer.core.arrays import Pixels
from transfer.core.errors import UserError
from transfer.core.files import written_whole
from transfer.core.params import Duplicates
from transfer.core.spec import Conversion
from transfer.dataset.decode import THUMBNAIL, BadImageError, Decoded, Facts, decode
from transfer.dataset.duplicates import Bits, Same, Thumbnails, find_same, perceptual_hashes
from transfer.dataset.shards import open_shard, read_image
from transfer.records.tfrecords import FRAME_BYTES, Example, serialise
from transfer.workers.threads import in_order
from transfer.workers.work import Progress

AHEAD = 64  # images decoded before the writer asks for them: enough to keep every core busy, few enough to hold
HASHED = 256  # thumbnails hashed at a time
SHARDS_AHEAD = 8  # shards of records that are copied before anyone asks


@dataclass(frozen=True)
class LabelledShard:
    """The labelled images of a shard of data/raw, in the order of their names."""

    shard: Path
    images: list[str]
    labels: NDArray[np.int64]
    soft_labels: NDArray[np.float64]
    confidence: NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Images that were decoded in one go, and what was wrong with others.

    `folder` has their records and thumbnails; `ends` says where in the file a record ends, with a 0 before the first.
    `facts` are those of all, and `flat` counts images that show nothing.
    """

    folder: Path
    images: list[str]
    contents: list[bytes]
    perceptual: Bits
    ends: NDArray[np.int64]
    bad: list[tuple[str, str]]
    facts: Facts
    flat: int

    @property
    def records(self) -> Path:
        """The file of records, in the order of `images`."""
        return self.folder / "records"

    def thumbnails(self, channels: int) -> NDArray[np.uint8]:
        """Map the thumbnails into memory: (n, 32, 32, channels)."""
        shape = (len(self.images), THUMBNAIL, THUMBNAIL, channels)
        return np.memmap(self.folder / "thumbnails", np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, "u1")


class RecordPool:
    """Records in one file, in the order in which they come."""

    def __init__(self, path: Path) -> None:
        self._writer = tf.io.TFRecordWriter(str(path))
        self._ends = [0]

    def append(self, example: Example) -> None:
        """Add a record."""
        serialised = serialise(example)
        self._writer.write(serialised)
        self._ends.append(self._ends[-1] + len(serialised) + FRAME_BYTES)

    def close(self) -> NDArray[np.int64]:
        """End the writing, and return where each record ends, with a 0 before the first."""
        self._writer.close()
        return np.array(self._ends, np.int64)


class _Hashes:
    """Perceptual hashes of thumbnails, of many at a time."""

    def __init__(self) -> None:
        self._hashed: list[Bits] = []
        self._waiting: list[Pixels] = []

    def append(self, thumbnail: Pixels) -> None:
        self._waiting.append(thumbnail)
        if len(self._waiting) == HASHED:
            self._hash()

    def all(self) -> Bits:
        self._hash()
        return np.concatenate([np.empty(0, np.uint64), *self._hashed])

    def _hash(self) -> None:
        if self._waiting:
            self._hashed.append(perceptual_hashes(np.stack(self._waiting)))
            self._waiting.clear()


def _in_shard(shard: ZipFile, labelled: LabelledShard) -> Iterator[str]:
    """Yield the names of the labelled images as the shard has them, which must be in the same order."""
    wanted = set(labelled.images)
    found = (name for name in shard.namelist() if name in wanted)
    for image in labelled.images:
        if (name := next(found, None)) != image:
            before = name or shard.namelist()[-1]
            folder = labelled.shard.parent
            raise UserError(f"{folder}: expected images in the order of their names, {image!r} before {before!r}")
        yield image


@dataclass(frozen=True)
class DecodeShards:
    """Decode the labelled images of shards on all cores, into a part of the pool below `folder`."""

    folder: Path
    size: int
    channels: int
    conversion: Conversion

    def __call__(self, shards: Iterable[LabelledShard], progress: Progress) -> Part:
        """Do so.

        Raises:
            UserError: a shard is damaged, or not in the order of names.
        """
        folder = Path(tempfile.mkdtemp(dir=self.folder))  # its own, also where the same shard is decoded twice
        records, hashes = RecordPool(folder / "records"), _Hashes()
        images, contents, bad, facts, flat = [], [], [], Facts(), 0
        with (folder / "thumbnails").open("wb") as thumbnails:
            for labelled in shards:
                columns = zip(labelled.labels, labelled.soft_labels, labelled.confidence, strict=True)
                for (image, result), (label, soft_label, confidence) in zip(
                    self._decoded(labelled), columns, strict=True
                ):
                    progress(1)
                    if isinstance(result, BadImageError):
                        bad.append((image, str(result)))
                        continue
                    facts += result.facts
                    if result.lost:
                        bad.append((image, result.lost))
                        continue
                    flat += result.flat
                    images.append(image)
                    contents.append(result.content)
                    thumbnails.write(result.thumbnail.tobytes())
                    hashes.append(result.thumbnail)
                    records.append(Example(image, result.pixels, int(label), float(soft_label), float(confidence)))
        return Part(folder, images, contents, hashes.all(), records.close(), bad, facts, flat)

    def _decoded(self, labelled: LabelledShard) -> Iterator[tuple[str, Decoded | BadImageError]]:
        """Decode in order; for a bad image comes the reason."""
        with open_shard(labelled.shard) as shard:

            def attempt(image: str) -> tuple[str, Decoded | BadImageError]:
                try:
                    return image, decode(read_image(shard, image), self.size, self.channels, self.conversion)
                except BadImageError as error:
                    return image, error

            yield from in_order(attempt, _in_shard(shard, labelled), AHEAD)


@dataclass(frozen=True)
class RecordShard:
    """A shard of records to write, and where its records lie: for each the number of its file, first byte and bytes."""

    place: Path
    files: list[Path]
    file: NDArray[np.int64]
    start: NDArray[np.int64]
    size: NDArray[np.int64]


def _copy(shard: RecordShard) -> int:
    """Write a shard, and return the number of its records."""
    opened, source = -1, None
    with written_whole(shard.place, shared=True) as part, part.open("wb") as place:
        try:
            for file, start, size in zip(shard.file.tolist(), shard.start.tolist(), shard.size.tolist(), strict=True):
                if file != opened:
                    if source is not None:
                        source.close()
                    opened, source = file, shard.files[file].open("rb")
                assert source is not None
                source.seek(start)
                place.write(source.read(size))
        finally:
            if source is not None:
                source.close()
    return len(shard.size)


def copy_records(shards: Iterable[RecordShard], progress: Progress) -> int:
    """Write shards on all cores, and return the number of records."""
    copied = 0
    for count in in_order(_copy, shards, SHARDS_AHEAD):
        progress(count)
        copied += count
    return copied


class _Joined:
    """The thumbnails of several parts, as if in one array."""

    def __init__(self, parts: list[NDArray[np.uint8]], starts: NDArray[np.int64]) -> None:
        self._parts, self._starts = parts, starts

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        of_part = np.searchsorted(self._starts, rows, "right") - 1
        found = np.empty((len(rows), *self._parts[0].shape[1:]), np.uint8)
        for part in np.unique(of_part):
            here = of_part == part
            found[here] = self._parts[part][rows[here] - self._starts[part]]
        return found


class Pool:
    """The parts, as one list of images: each has a row, counted from 0."""

    def __init__(self, parts: Sequence[Part], channels: int) -> None:
        self._parts, self._channels = parts, channels
        self._starts = np.cumsum([0, *(len(part.images) for part in parts[:-1])])
        images = (image for part in parts for image in part.images)
        self.rows: dict[str, int] = {image: row for row, image in enumerate(images)}
        self.bad = [found for part in parts for found in part.bad]
        self.facts = sum((part.facts for part in parts), Facts())
        self.flat = sum(part.flat for part in parts)

    def find_same(self, params: Duplicates) -> Same:
        """Find the duplicates among the images of the pool."""
        mapped = [part.thumbnails(self._channels) for part in self._parts]
        thumbnails: Thumbnails = mapped[0] if len(mapped) == 1 else _Joined(mapped, self._starts)
        contents = [content for part in self._parts for content in part.contents]
        return find_same(
            contents,
            np.concatenate([np.empty(0, np.uint64), *(part.perceptual for part in self._parts)]),
            thumbnails,
            params,
        )

    def shards(self, rows: Sequence[int], folder: Path, in_shard: int) -> Iterator[RecordShard]:
        """Plan shards of `in_shard` records, 00000.tfrecord, 00001.tfrecord, …, with the records of some rows."""
        for start in range(0, len(rows), in_shard):
            chosen = np.array(rows[start : start + in_shard], np.int64)
            of_part = np.searchsorted(self._starts, chosen, "right") - 1
            first, last = np.empty_like(chosen), np.empty_like(chosen)
            parts, file = np.unique(of_part, return_inverse=True)
            for part in parts:
                here = of_part == part
                within = chosen[here] - self._starts[part]
                first[here], last[here] = self._parts[part].ends[within], self._parts[part].ends[within + 1]
            files = [self._parts[part].records for part in parts]
            yield RecordShard(folder / f"{start // in_shard:05}.tfrecord", files, file, first, last - first)
