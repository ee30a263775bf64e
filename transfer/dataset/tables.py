"""Tables of labels: a row for each image, with its class or the probability of one."""

import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from transfer.core.cards import Card, Table
from transfer.core.errors import UserError
from transfer.dataset.labels import LABEL_COLUMNS, SPLIT_WORDS, join_stratum
from transfer.dataset.scan import is_image_name

SEPARATORS = {"comma": ",", "tab": "\t", "whitespace": " "}
SHOWN = 100  # characters of a line


def read_table(card: Card, table: Table, folder: Path) -> tuple[tuple[str, ...], pd.DataFrame, list[str]]:
    """Label each image by its row of a table. White space around values does not count.

    Returns the class names, a row for each image with the columns `LABEL_COLUMNS`, and lines that say which labels
    are written in several ways. soft_label is NaN, group and split are "" where there is none. The index has the line
    numbers.

    Raises:
        UserError: no such table, a column is missing or empty, or a value is none that can be.
    """
    path = folder / table.file
    rows = _rows(table, path)
    notes = []
    if table.soft_label is not None:
        classes, soft = card.classes, _soft_labels(rows, table.soft_label, path)
        names = [classes[int(value > table.threshold)] for value in soft]
        confidence = _confidence(soft, table, path)
    else:
        notes = _spellings(rows[table.label], path)
        rows[table.label] = rows[table.label].str.strip()
        soft, names, confidence = pd.Series(math.nan, rows.index), list(rows[table.label]), [1.0] * len(rows)
        classes = card.classes or tuple(sorted(set(names) - {""}))
        _check_names(rows[table.label], classes, path)
    strata = [join_stratum(*parts) for parts in zip(names, *(rows[name] for name in table.stratify), strict=True)]
    groups = list(rows[table.group]) if table.group is not None else [""] * len(rows)
    splits = _splits(rows[table.split], path) if table.split is not None else [""] * len(rows)
    columns = (rows[table.image], names, soft, confidence, strata, groups, splits)
    return classes, pd.DataFrame(dict(zip(LABEL_COLUMNS, columns, strict=True)), rows.index), notes


def _lines(table: Table, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the values of each line that has any, and the line's number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = (" ".join(line.split()) for line in file) if table.separator == "whitespace" else file
            reader = csv.reader(lines, delimiter=SEPARATORS[table.separator], skipinitialspace=True, strict=True)
            try:
                for values in reader:
                    if any(value.strip() for value in values):
                        yield reader.line_num, values
            except csv.Error as error:
                raise UserError(f"{path}: line {reader.line_num}: {error}; is a quotation mark not closed?") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: it is not in UTF-8; save the table as CSV in UTF-8 ({error})") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; the card's table names this file") from error


def _rows(table: Table, path: Path) -> pd.DataFrame:
    """Read the columns that the card names, as text."""
    lines = _lines(table, path)
    header = list(table.columns) if table.columns is not None else [name.strip() for name in next(lines, (0, []))[1]]
    values, numbers = [], []
    for line, row in lines:
        if any(value.strip() for value in row[len(header) :]):
            separator = SEPARATORS[table.separator]
            raise UserError(
                f"{path}: line {line} has {len(row)} values for {len(header)} columns: "
                f"{separator.join(row)[:SHOWN]!r}; put a value that holds a {table.separator} into double quotes"
            )
        values.append([*row[: len(header)], *[""] * (len(header) - len(row))])
        numbers.append(line)
    needed = _needed(table, header, path)
    if not values:
        raise UserError(f"{path}: it has no rows; each image needs one")
    rows = pd.DataFrame(values, numbers, header, dtype=str)[needed]
    return _checked(rows, table, path)


def _needed(table: Table, header: list[str], path: Path) -> list[str]:
    """Return the columns that the card names, each of which is there once."""
    given = (table.image, table.label, table.soft_label, *table.stratify, table.group, table.split)
    needed = list(dict.fromkeys(name for name in given if name is not None))
    for name in needed:
        if header.count(name) != 1:
            how_many = "no column" if name not in header else "several columns"
            headless = table.columns is None and any(map(is_image_name, header))
            hint = "its first line names an image: if there is no header, list `columns` in" if headless else "or"
            raise UserError(
                f"{path}: it has {how_many} {name!r}; its columns, {table.separator}-separated, are {header}; "
                f"correct the table{'; ' if headless else ' '}{hint} the card's `table`"
            )
    return needed


def _checked(rows: pd.DataFrame, table: Table, path: Path) -> pd.DataFrame:
    """Take the white space off, but for paths and labels, and check for empty columns and repeated images."""
    for column in rows.columns.difference([table.image, table.label]):
        rows[column] = rows[column].str.strip()
    for key, name in (("group", table.group), ("split", table.split), *(("stratify", name) for name in table.stratify)):
        if name is not None and not rows[name].any():
            raise UserError(
                f"{path}: the column {name!r} (the card's table.{key}) is empty; fill it in or leave it out"
            )
    if len(again := rows.index[rows[table.image].duplicated()]):
        image = rows[table.image][again[0]]
        first = rows.index[rows[table.image] == image][0]
        raise UserError(f"{path}: lines {first} and {again[0]} both label {image!r}; leave one of them")
    return rows


def _spellings(labels: "pd.Series[Any]", path: Path) -> list[str]:
    """Say which labels are written in several ways: with white space around them, or in upper and lower case."""
    spelled, folded = defaultdict(set), defaultdict(set)
    for label in labels.unique():
        spelled[label.strip()].add(label)
        folded[label.strip().casefold()].add(label.strip())
    spaced = [repr(name) for name, found in spelled.items() if len(found) > 1]
    cased = [" and ".join(map(repr, sorted(found))) for found in folded.values() if len(found) > 1]
    both = "is written with and without spaces around it; both are read as one class"
    each = "differ only in case and are different classes; if they are one, write it one way"
    return [f"{path.name}: {names} {said}" for found, said in ((spaced, both), (cased, each)) for names in found]


def _check_names(labels: "pd.Series[Any]", classes: tuple[str, ...], path: Path) -> None:
    for line, name in labels.items():
        if not name:
            raise UserError(f"{path}: line {line}: no label; write one or leave the line out")
        if name not in classes:
            raise UserError(f"{path}: line {line}: {name!r} is not one of the card's classes, {', '.join(classes)}")
    if len(classes) < 2:
        raise UserError(f"{path}: there are labels of one class only, {classes[0]!r}; two or more are needed")


def _splits(given: "pd.Series[Any]", path: Path) -> list[str]:
    """Read the names of given splits; "" is none."""
    splits = []
    for line, name in given.items():
        split = SPLIT_WORDS.get(name.lower(), "")
        if name and not split:
            raise UserError(f"{path}: line {line}: {name!r} is not a split; write one of {', '.join(SPLIT_WORDS)}")
        splits.append(split)
    return splits


def _soft_labels(rows: pd.DataFrame, column: str, path: Path) -> "pd.Series[Any]":
    values = pd.to_numeric(rows[column], errors="coerce")
    for line in values.index[~values.between(0, 1)]:
        raise UserError(f"{path}: line {line}: {column}: {rows[column][line]!r} is not a probability; write 0 to 1")
    return values


def _confidence(soft: "pd.Series[Any]", table: Table, path: Path) -> list[float]:
    """Look up the weight of each soft label; tables print thirds in different lengths, so close is equal."""
    weights = []
    for line, value in soft.items():
        matches = [weight for given, weight in table.confidence if math.isclose(given, value, abs_tol=1e-3)]
        if table.confidence and not matches:
            given = [pair[0] for pair in table.confidence]
            raise UserError(
                f"{path}: line {line}: the card's table.confidence has no weight for {value}, but for {given}; add one"
            )
        weights.append(matches[0] if matches else 1.0)
    return weights
