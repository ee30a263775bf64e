"""Files written whole or not at all, and read again."""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a name to write under, beside `path` and with its suffix, that becomes `path` once it is on the disk.

    So there is, even after a crash or on a full disk, the whole new file, the old one, or none; and an old one that is
    a link into DVC's cache is not written to. What an error leaves
    under the other name is removed. The folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    part.unlink(missing_ok=True)
    try:
        yield part
        _to_disk(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _to_disk(path.parent)


@contextmanager
def under_own_name(path: Path) -> Iterator[Path]:
    """Give a name to write under, beside `path`, that nobody else has, and that becomes `path` in the end.

    So there is the whole file or none, also where a worker is killed, or two do the same.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file, whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(value: object, path: Path) -> None:
    """Write a value as JSON with a line for each key."""
    write_text(json.dumps(value, indent=2) + "\n", path)


def read_json(path: Path) -> dict[str, Any]:
    """Read an object that `write_json` wrote."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def write_csv(table: "pd.DataFrame", path: Path, missing: str = "") -> None:
    """Write a table without its index, whole or not at all; `missing` stands where there is no value."""
    with written_whole(path) as part:
        table.to_csv(part, index=False, na_rep=missing)


def require_space(path: Path, size: int) -> None:
    """Look, before `path` is written, whether there is room for it, for what bears no full disk (HDF5 does not).

    Args:
        path: the file; its folder exists.
        size: in bytes.

    Raises:
        OSError: there is less room, as the system would say.
    """
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _to_disk(path: Path) -> None:
    """Have the system write what it holds of a file, or of a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
