"""What the commands share: the images that a command line names, and how bad ones are listed."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from transfer.core.arrays import Pixels
from transfer.core.errors import UserError
from transfer.dataset.decode import IMAGE_SUFFIXES, MAX_BYTES, BadImageError, decode_pixels
from transfer.dataset.scan import is_image_name, scan
from transfer.export.contract import Contract

SOME_BAD = 3
"""Exit status where images could not be read. The others are predicted."""


def find_images(given: Iterable[str]) -> Iterator[str]:
    """Yield the files given, whatever their names, and the images in the folders given, by their suffixes, in order.

    Folders in them that cannot be listed, and links that lead nowhere, are among them, so that they are reported.

    Raises:
        UserError: a folder has none.
    """
    for path in given:
        if not Path(path).is_dir():
            yield path
            continue
        inside = (entry for entry in scan(path) if entry.error or is_image_name(entry.path))
        if (first := next(inside, None)) is None:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise UserError(f"{path}: no images in it ({kinds}): give a folder that has some")
        yield from (str(Path(path, entry.path)) for entry in chain([first], inside))


def read_list(path: Path) -> Iterator[str]:
    """Yield the lines of a file, each the path of an image.

    Raises:
        UserError: there is none.
    """
    empty = True
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for name in filter(None, (line.rstrip("\r\n") for line in file)):
            empty = False
            yield name
    if empty:
        raise UserError(f"{path}: no images in it; write the path of one on each line")


def _content(path: Path) -> bytes:
    """Read a file whose size is known before: a pipe or a device may never end."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()  # a folder is among the images where it cannot be listed: this says why
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError("expected a regular file, received a folder, a device or a pipe")
        if status.st_size > MAX_BYTES:
            raise BadImageError(f"expected at most {MAX_BYTES:,} bytes, received {status.st_size:,}")
        with path.open("rb") as file:
            return file.read(MAX_BYTES)  # also of one that grows meanwhile
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error


def read_image(image: str, contract: Contract) -> Pixels | BadImageError:
    """Decode and resize a file as the pipeline does: uint8 (S, S, channels)."""
    try:
        return decode_pixels(_content(Path(image)), contract.image_size, contract.channels, contract.conversion)
    except BadImageError as error:
        return error


def shown(name: str) -> str:
    """Return a name as a terminal can show it: what would move its cursor, and what is no character, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def list_bad(bad: Sequence[tuple[str, str]], total: int) -> int:
    """List images that could not be read, with the reasons, on standard error, and return the exit status."""
    if not bad:
        return 0
    lines = "".join(f"  {shown(image)}: {shown(reason)}\n" for image, reason in bad)
    sys.stderr.write(f"could not be read: {len(bad)} of {total} images\n{lines}")
    return SOME_BAD
