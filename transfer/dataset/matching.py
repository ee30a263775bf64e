"""Which image file each row of a table means: tables spell paths in other ways than the file system does."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from transfer.core.errors import UserError

Way = tuple[str, Callable[[str], str], Callable[[str], str]]
"""How a row may name its file: as the first says, where the second of its path is the third of the file's."""


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return _composed(text.casefold())


WAYS: tuple[Way, ...] = (
    ("by another path", str, str),
    ("in another Unicode form", _composed, _composed),
    ("in other case", _folded, _folded),
    ("without its suffix", _composed, lambda file: _composed(file.rpartition(".")[0])),
    ("without its suffix and in other case", _folded, lambda file: _folded(file.rpartition(".")[0])),
)
"""The strictest first: a file that is taken in one way is none of those that a later way may find."""


def match_images(labels: pd.DataFrame, images: list[str], folder: Path, table: Path) -> tuple[pd.DataFrame, list[str]]:
    """Write into the column image of a table's rows what their files are called.

    A row means the file at its path. Where there is none, it means the only file that one of `WAYS` finds. Its path may
    be absolute, relative to the folder, to one above it or to the table's, and with backslashes.

    Args:
        labels: with a column image; its index are the numbers of lines.
        images: paths of the image files below `folder`, with /.
        folder: the dataset's.
        table: the file that the rows are of.

    Returns:
        The labels, those without a file as they were, and lines that say which rows were matched how, and which rows
        and images were not.

    Raises:
        UserError: no row has a file, one fits several, or several mean the same.
    """
    files = set(images)
    rows: dict[int, str] = dict(zip(labels.index.tolist(), labels["image"].tolist(), strict=True))
    found = {line: name for line, name in rows.items() if name in files}
    left = {line: name for line, name in rows.items() if name not in files}
    paths = _paths(left.values(), folder, table)
    lines = []
    for way in WAYS if left else ():
        taken = set[str]() if way is WAYS[0] else set(found.values())
        matched = _matched(way, left, paths, [file for file in images if file not in taken], table)
        if matched:
            line, file = next(iter(matched.items()))
            first = f"{left[line]!r} is {file}"
            lines.append(f"{table.name}: rows that name their image {way[0]}: {len(matched)} ({first})")
        found |= matched
        left = {line: name for line, name in left.items() if line not in matched}
    _require_one_row_each(found, rows, table)
    if not found:
        raise UserError(
            f"{table}: no row matches an image: the first row says {next(iter(rows.values()))!r}, the first image is "
            f"{images[0]}; write paths as they are below {folder}, or give the folder that they begin in as dataset"
        )
    names = [found.get(line, name) for line, name in rows.items()]
    labels = labels.assign(image=names).reset_index(drop=True)
    return labels, lines + _unmatched(left, sorted(files.difference(found.values())), table)


def _matched(
    way: Way, rows: dict[int, str], paths: dict[str, list[str]], images: list[str], table: Path
) -> dict[int, str]:
    """Find the files of rows in one way."""
    _, of_row, of_file = way
    by_key = defaultdict(list)
    for file in images:
        by_key[of_file(file)].append(file)
    matched = {}
    for line, name in rows.items():
        fits = next((by_key[key] for path in paths[name] if (key := of_row(path)) in by_key), [])
        if len(fits) > 1:
            raise UserError(f"{table}: line {line}: {name!r} may mean {fits[0]} or {fits[1]}; write the whole path")
        if fits:
            matched[line] = fits[0]
    return matched


def _paths(names: Iterable[str], folder: Path, table: Path) -> dict[str, list[str]]:
    """Find, for each path of a row, the paths below the folder that it may mean."""
    places = list(dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder))))  # noqa: PTH100
    above = [str(Path(*Path(place).parts[at:])) for place in places for at in range(len(Path(place).parts))]
    starts = ["", *(f"{start}/" for start in above)]  # pics/, set/pics/, …, /home/set/pics/
    bases = (*places, str(table.parent.absolute()))
    found = {}
    for name in names:
        spelled = name.strip().replace("\\", "/")
        joined = [os.path.normpath(spelled), *(os.path.normpath(os.path.join(base, spelled)) for base in bases)]  # noqa: PTH118
        found[name] = [path.removeprefix(start) for path in joined for start in starts if path.startswith(start)]
    return found


def _require_one_row_each(found: dict[int, str], names: dict[int, str], table: Path) -> None:
    first: dict[str, int] = {}
    for line, file in found.items():
        if (other := first.setdefault(file, line)) != line:
            one, two = sorted((line, other))
            raise UserError(
                f"{table}: lines {one} and {two} both label {file} ({names[one]!r}, {names[two]!r}); leave one of them"
            )


def _unmatched(rows: dict[int, str], images: list[str], table: Path) -> list[str]:
    """Say which rows have no image, and which images no row."""
    named = (("rows without an image", [repr(name) for name in rows.values()]), ("images without a row", images))
    return [
        f"{table.name}: {what}: {len(names)} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''}), for quarantine"
        for what, names in named
        if names
    ]
