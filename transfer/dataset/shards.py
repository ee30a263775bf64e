"""Image files in a few large ones: data/raw/images/00000.zip, 00001.zip, …

DVC, remotes and file systems look at every file by itself: of a million images, `dvc status` would take minutes. ZIP
archives without compression can be looked into with what everybody has, and read in parallel.
"""

import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from transfer.core.errors import UserError
from transfer.dataset.decode import MAX_BYTES, BadImageError

MIN_BYTES, MAX_SHARD_BYTES = 32 * 2**20, 256 * 2**20
ENTRY_BYTES = 1024  # what an entry counts beside its file: about what Python takes to hold it in memory
ONE_IN = 16  # names that a shard may end at, once it is large enough
NO_TIME = (1980, 1, 1, 0, 0, 0)  # the first that the format can say: of the same images, the same bytes


def _cut(sizes: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Divide names into shards, where names say so: with an image more or less, the shards after it stay the same."""
    shard: list[str] = []
    held = 0
    for name, size in sizes:
        if held >= MIN_BYTES and (zlib.crc32(name.encode()) % ONE_IN == 0 or held + size > MAX_SHARD_BYTES):
            yield shard
            shard, held = [], 0
        shard.append(name)
        held += size + ENTRY_BYTES
    if shard:
        yield shard


def write_shards(folder: Path, images: Iterable[str], target: Path, move: bool = False) -> int:
    """Pack image files.

    Args:
        folder: where they lie.
        images: their paths below it, with /, in order.
        target: folder of the shards; is made.
        move: remove each file once it is packed.

    Returns:
        The number of shards.
    """
    target.mkdir(parents=True)
    count = 0
    for count, names in enumerate(_cut((image, (folder / image).stat().st_size) for image in images), 1):
        with ZipFile(target / f"{count - 1:05}.zip", "x") as shard:
            for name in names:
                _add(shard, folder / name, name)
                if move:
                    (folder / name).unlink()
    return count


def _add(shard: ZipFile, path: Path, name: str) -> None:
    entry = ZipInfo(name, NO_TIME)
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # Unix, and what everybody may read
    with path.open("rb") as source:
        entry.file_size = os.fstat(source.fileno()).st_size  # ZipFile decides by it how sizes are written
        with shard.open(entry, "w") as place:
            shutil.copyfileobj(source, place)


@contextmanager
def open_shard(path: Path) -> Iterator[ZipFile]:
    """Open a shard, to read it from any number of threads.

    Raises:
        UserError: it is damaged.
    """
    try:
        shard = ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: damaged file ({error}); fetch the images again: dvc repro -f download") from error
    with shard:
        yield shard


def shards(folder: Path) -> list[Path]:
    """Return the shards in a folder, in order."""
    return sorted(folder.glob("*.zip"))


def read_image(shard: ZipFile, name: str) -> bytes:
    """Read an image file from a shard.

    Raises:
        BadImageError: it is larger than any image that can be decoded, or damaged.
    """
    entry = shard.getinfo(name)
    if entry.file_size > MAX_BYTES:
        raise BadImageError(f"expected at most {MAX_BYTES:,} bytes, received {entry.file_size:,}")
    try:
        return shard.read(entry)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError) as error:
        raise BadImageError(f"expected what was written, received a damaged file: {error}") from error
