"""Look for files in a folder: one way for what is trained on and for what is predicted."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from transfer.core.errors import UserError
from transfer.dataset.decode import HEIC_SUFFIXES, IMAGE_SUFFIXES

SHOWN = 5  # of what is no image, or cannot be read
LEFT_BY_SYSTEMS = {"__MACOSX", "@eaDir", "lost+found", "Thumbs.db", "desktop.ini"}
"""What macOS' ZIP archives, Synology's thumbnails, Linux' repairs and Windows leave behind."""


class Entry(NamedTuple):
    """A file (its path below the folder, with /), or what cannot be read, with the reason as the system has it."""

    path: str
    error: str = ""


def is_image_name(name: str) -> bool:
    """Tell by its suffix whether a file is taken for an image."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def counts(name: str) -> bool:
    """Tell whether an entry of a folder counts: not one that is hidden (.name), nor what a system left."""
    return not name.startswith(".") and name not in LEFT_BY_SYSTEMS


def scan(folder: str) -> Iterator[Entry]:
    """Yield the files below a folder, of each folder its files first, by name.

    Links to files and folders are followed, but for a link back to a folder that it lies in. What is linked from two
    places is yielded twice. What does not count (see `counts`) is left out. A folder that cannot be listed (path "":
    the given one), and a link that leads nowhere, are yielded with their error.
    """
    yield from _scan(folder, "", frozenset())


def _scan(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[Entry]:
    """`above` has device and inode of each folder on the way here."""
    try:
        status = Path(folder).stat()
        if (here := (status.st_dev, status.st_ino)) in above:
            return
        with os.scandir(folder) as listed:
            entries = sorted((entry for entry in listed if counts(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        yield Entry(prefix.rstrip("/"), error.strerror or str(error))
        return
    folders = []
    for entry in entries:
        try:
            if entry.is_symlink():
                entry.stat()  # is_dir says no, where a link leads nowhere
            if entry.is_dir():
                folders.append(entry)
            else:
                yield Entry(prefix + entry.name)
        except OSError as error:
            yield Entry(prefix + entry.name, error.strerror or str(error))
    for entry in folders:
        yield from _scan(entry.path, f"{prefix}{entry.name}/", above | {here})


def images_in(folder: Path) -> tuple[list[str], list[str]]:
    """Return the paths of the images below a folder, and of all other files, sorted, with / (see `scan`).

    Raises:
        UserError: there is no image, a folder or a link cannot be read, or a name is no UTF-8, which could not be
            written down.
    """
    entries = sorted(scan(str(folder)))
    if unread := [f"{folder / entry.path} ({entry.error})" for entry in entries if entry.error]:
        more = f" and {len(unread) - SHOWN} more" if len(unread) > SHOWN else ""
        raise UserError(
            f"{folder}: could not be read: {', '.join(unread[:SHOWN])}{more}. Fix the permissions or the link, "
            "or remove it"
        )
    images, others = list[str](), list[str]()
    for file, _ in entries:
        name = os.fsencode(file)
        if name.decode(errors="replace") != file:
            raise UserError(f"{folder}: the name of a file is not UTF-8: {name!r}. Rename it")
        # Of regular files only: a pipe or a device may never end.
        (images if is_image_name(file) and (folder / file).is_file() else others).append(file)
    if not images:
        kinds = Counter(Path(file).suffix.lower() or "without a suffix" for file in others)
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(SHOWN)) or "no files"
        raise UserError(
            f"{folder}: no readable images (found: {found}; supported: {', '.join(sorted(IMAGE_SUFFIXES))}); give a "
            f"folder with images, or {how_to_read(kinds)}"
        )
    return images, others


def how_to_read(suffixes: Iterable[str]) -> str:
    """Say what to do with pictures of kinds that are not read."""
    heic = " (for HEIC, `pip install pillow-heif` is enough)" if HEIC_SUFFIXES.intersection(suffixes) else ""
    return f"convert them to PNG or JPEG{heic}"
