"""Look at a folder of images and write its card: python -m transfer init FOLDER"""

import io
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import yaml
from PIL import Image

from transfer.check import PARAMS
from transfer.core.cards import ARCHIVE_SUFFIXES, ASSUMED, FOLDER_CARD, FOLDER_CARDS, Card, table_card
from transfer.core.errors import UserError
from transfer.core.outputs import require_apart
from transfer.core.progress import progress_bar
from transfer.core.spec import Conversion
from transfer.dataset.decode import THUMBNAIL, BadImageError, decode, upright_size
from transfer.dataset.labels import SPLITS, require_enough
from transfer.dataset.layouts import Labelled, Layout, other_pictures, read_layout, tables_in
from transfer.dataset.scan import images_in
from transfer.preset import NAME, as_override
from transfer.serving.arguments import shown
from transfer.workers.threads import in_order

AHEAD = 64  # images that are read before they are asked for
SHOWN = 5
"""Of unreadable or identical files, so many are named."""


@dataclass(frozen=True)
class Look:
    """An image: width and height in pixels (upright), whether it is grey, a hash of its file; or what is wrong."""

    size: tuple[int, int] = (0, 0)
    grey: bool = True
    content: bytes = b""
    error: str = ""


def init(folder: Path) -> None:
    """Print what a folder of images holds, and write its card.

    Raises:
        UserError: there is no such folder, it has a card, its images or classes cannot be read, or a class has too few
            images, in all or in a given split.
    """
    _require_folder(folder)
    images, others = images_in(folder)
    layout = _layout(folder, images, others)
    names = [row.image for row in layout.labelled]
    bar = progress_bar(len(names), "look")
    looks = {}
    for name, look in zip(names, in_order(lambda name: _look(folder / name), names, AHEAD), strict=True):
        looks[name] = look
        bar.update()
    bar.close()
    for line in [*_found(folder, layout, looks), *layout.notes, *other_pictures(others)]:
        print(shown(line))
    require_enough(folder, _counts(layout, looks), layout.classes)
    card = _from_here(folder) / FOLDER_CARD
    with card.open("x", encoding="utf-8") as file:
        file.write(card_text(folder.resolve().name, layout.classes, _channels(looks.values())))
    print(ASSUMED)
    print(f"wrote {shown(str(card))}: correct it where it is wrong, and add licence and citation")
    print(f"next: {_command(folder)}")


def _require_folder(folder: Path) -> None:
    if folder.is_file() and folder.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise UserError(
            f"{folder}: is an archive; unpack it and give the folder, or train on it as it is: {_command(folder)}"
        )
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "there is no such folder"
        raise UserError(f"{folder}: {what}; give a folder with a folder of images for each class")
    require_apart(folder, "init")
    for name in FOLDER_CARDS:
        if (card := folder / name).exists():
            raise UserError(
                f"{card}: there is a card already; edit it, or remove it and try again. To go on with it: "
                f"{_command(folder)}"
            )


def _command(dataset: Path) -> str:
    """Return the command that trains on a dataset, for a shell.

    A name that is a number or a word to YAML, such as 2024 or on, is given as a path, which is a string to all.
    """
    path = str(_from_here(dataset))
    if "/" not in path and not NAME.fullmatch(path.split(".", maxsplit=1)[0]):
        path = f"./{path}"
    plain = re.fullmatch(r"[\w./-]+", path, re.ASCII)
    return f"dvc exp run -S {f'dataset={path}' if plain else shlex.quote(as_override('dataset', path))}"


def _from_here(path: Path) -> Path:
    """Return a path as the project's commands need it: a relative one only where they run, beside params.yaml."""
    return path if PARAMS.is_file() else path.resolve()


def _layout(folder: Path, images: list[str], others: list[str]) -> Layout:
    """Read the classes; where they seem to stand in a table, say how it is named."""
    try:
        return read_layout(Card(title=folder.name), folder, images, others)
    except UserError as error:
        if not (tables := tables_in(others)):
            raise
        raise UserError(
            f"{error}. If {tables[0]} holds the labels, write {folder / FOLDER_CARD} with the lines\n"
            f"{table_card(folder.resolve().name, tables[0])}"
        ) from error


def _look(path: Path) -> Look:
    """Decode an image as preprocess does."""
    try:
        data = path.read_bytes()
        decoded = decode(data, THUMBNAIL, 3, Conversion())
        with Image.open(io.BytesIO(data)) as image:
            size = upright_size(image)
    except (BadImageError, OSError) as error:
        return Look(error=str(error))
    return Look(size, bool(np.ptp(decoded.pixels, axis=-1).max() == 0), decoded.content)


def _found(folder: Path, layout: Layout, looks: dict[str, Look]) -> list[str]:
    """Say what a folder holds, line by line."""
    counts = Counter(row.label for row in layout.labelled)
    width = max(map(len, counts))
    lines = [f"{folder}: {len(looks)} images of {len(counts)} classes"]
    lines += [f"  {name:{width}}  {counts[name]}" for name in layout.classes]
    given = Counter(row.split for row in layout.labelled if row.split)
    lines.append(
        "splits: " + (", ".join(f"{name} {given[name]}" for name in SPLITS if name in given) or "drawn at random")
    )
    good = [look for look in looks.values() if not look.error]
    for axis, name in enumerate(("width", "height")):
        values = [look.size[axis] for look in good]
        if values:
            lines.append(f"{name}: {min(values)} to {max(values)} pixels, median {median(values):g}")
    lines.append(f"channels: {_channels(good)}")
    bad = [f"{name} ({look.error})" for name, look in looks.items() if look.error]
    lines += _listed("unreadable", bad)
    return [*lines, *_identical(layout, looks), *_listed("without labels, left out", layout.unlabelled)]


def _copies(layout: Layout, looks: dict[str, Look]) -> list[list[Labelled]]:
    """Return the readable images, those together whose files are identical."""
    copies = defaultdict(list)
    for row in layout.labelled:
        if not looks[row.image].error:
            copies[looks[row.image].content].append(row)
    return list(copies.values())


def _identical(layout: Layout, looks: dict[str, Look]) -> list[str]:
    """Name identical files, and by themselves those of different classes, of which one is wrong."""
    alike, torn = list[str](), list[str]()
    for same in _copies(layout, looks):
        if len(same) > 1:
            (alike if len({row.label for row in same}) == 1 else torn).append(" = ".join(row.image for row in same))
    warning = "warning: identical files in different classes, remove the wrong ones"
    return [*_listed("identical files", alike), *(_listed(warning, torn) if torn else [])]


def _listed(what: str, found: Sequence[str]) -> list[str]:
    """Count what was found, and name some."""
    more = [f"  … and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return [f"{what}: {len(found) or 'none'}", *(f"  {one}" for one in found[:SHOWN]), *more]


def _counts(layout: Layout, looks: dict[str, Look]) -> Counter[tuple[str, str]]:
    """Count the readable images of each split and class, identical ones once.

    As preprocess has it, identical images lie in one split: of those given, the last of train, validation and test.
    """
    counts = Counter({(row.split, row.label): 0 for row in layout.labelled})
    for same in _copies(layout, looks):
        split = max((row.split for row in same), key=("", *SPLITS).index)
        counts.update({(split, row.label) for row in same if row.split in ("", split)})
    return counts


def _yaml(value: str | list[str]) -> str:
    """Write a value on one line; what no terminal shows is escaped."""
    plain = "".join(value).isprintable()
    style = None if plain else '"'  # the one that escapes line breaks
    text = yaml.safe_dump(value, default_flow_style=True, default_style=style, width=10**6, allow_unicode=plain)
    return text.removesuffix("...\n").rstrip()


def _channels(looks: Iterable[Look]) -> int:
    return 1 if all(look.grey for look in looks) else 3


def card_text(title: str, classes: tuple[str, ...], channels: int) -> str:
    """Return a card with a comment for each key."""
    positive = ""
    if len(classes) == 2:
        positive = (
            f"# The class to find: its F1, ROC and precision-recall are reported.\n# positive: {_yaml(classes[1])}\n"
        )
    return f"""\
# The dataset in this folder, as `python -m transfer init` found it. All keys: docs/your-data.md
# Name in reports.
title: {_yaml(title)}
# Of the images; copied into reports and exported models.
licence: not stated
# Whom to cite.
citation: not stated
# In the order of their numbers.
classes: {_yaml(list(classes))}
{positive}# Which views keep the class: mirror (left-right), dihedral (turned and upside down too, as in microscopy),
# or none (text, digits, left and right organs).
symmetry: mirror
# 1 for grey images, 3 for colour.
channels: {channels}
# Images that belong together (a patient, a part, a video) never lie in two splits: a regular expression with one group,
# searched for in each path.
# group_pattern: "(patient[0-9]+)"
"""
