"""Files written whole or not at all, and read again."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def written_whole(path: Path, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` once it is on the disk.

    So even after a crash or on a full disk there is the whole new file, the old one, or none; and an old one that is a
    link into DVC's cache is not written to. After an error the temporary file is removed. The folder is created.

    Args:
        path: the file.
        shared: other processes may write the same file at the same time. The temporary name is then unique, and what
            a killed process leaves stays. Otherwise it has the suffix of `path`, and replaces what was left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}" if shared else f".part-{path.name}")
    part.unlink(missing_ok=True)
    try:
        yield part
        _to_disk(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _to_disk(path.parent)


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


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_space(size: int, folder: Path, hint: str = "") -> None:
    """Check that there is room for `size` bytes in a folder.

    Raises:
        UserError: there is less; `hint`, how to need less, is appended.
    """
    if size > (free := shutil.disk_usage(folder).free):
        raise UserError(
            f"{folder}: No space left on device: {size / 1e6:,.1f} MB are needed, {free / 1e6:,.1f} MB are free{hint}"
        )


def _to_disk(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
