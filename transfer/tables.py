"""Tables of labels: a row for each image, with its class or the probability of one."""

import math
from pathlib import Path

import pandas as pd

from transfer.cards import Card, Table
from transfer.errors import UserError
from transfer.layouts import SPLIT_WORDS
from transfer.strata import join_stratum

LABEL_COLUMNS = ["image", "label", "soft_label", "confidence", "stratum", "group", "split"]
SEPARATORS = {"comma": ",", "tab": "\t", "whitespace": r"\s+"}


def read_table(card: Card, table: Table, folder: Path) -> tuple[tuple[str, ...], pd.DataFrame]:
    """Label each image by its row of a table.

    Returns the class names, and a row for each image with the columns `LABEL_COLUMNS`: soft_label is NaN, group and
    split are "" where there is none.

    Raises:
        UserError: no such table, a column is missing, or a value is none that can be.
    """
    path = folder / table.file
    rows = _rows(table, path)
    if table.soft_label is not None:
        classes, soft = card.classes, _soft_labels(rows, table.soft_label, path)
        names = [classes[int(value > table.threshold)] for value in soft]
        confidence = _confidence(soft, table, path)
    else:
        soft, names, confidence = pd.Series(math.nan, rows.index), list(rows[table.label]), [1.0] * len(rows)
        classes = card.classes or tuple(sorted(set(names)))
        _check_names(names, classes, path)
    strata = [join_stratum(*parts) for parts in zip(names, *(rows[name] for name in table.stratify), strict=True)]
    groups = list(rows[table.group]) if table.group is not None else [""] * len(rows)
    splits = _splits(rows[table.split], path) if table.split is not None else [""] * len(rows)
    columns = (rows[table.image], names, soft, confidence, strata, groups, splits)
    return classes, pd.DataFrame(dict(zip(LABEL_COLUMNS, columns, strict=True)))


def _rows(table: Table, path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(
            path,
            sep=SEPARATORS[table.separator],
            names=table.columns,
            header=0 if table.columns is None else None,
            dtype=str,
            keep_default_na=False,
            index_col=False,
        )
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: expected a table of labels ({table.separator}), received: {error}") from error
    needed = [table.image, table.label, table.soft_label, *table.stratify, table.group, table.split]
    if missing := [name for name in needed if name is not None and name not in rows.columns]:
        raise UserError(f"{path}: expected the columns {missing}, received {list(rows.columns)}")
    if len(repeated := rows[table.image][rows[table.image].duplicated()]):
        raise UserError(f"{path}: expected one row an image, received several for {repeated.iloc[0]!r}")
    return rows


def _check_names(names: list[str], classes: tuple[str, ...], path: Path) -> None:
    if len(classes) < 2:
        raise UserError(f"{path}: expected labels of two or more classes, received {list(classes)}")
    for i, name in enumerate(names):
        if name not in classes or not name:
            raise UserError(f"{path}: row {i + 1}: expected one of {list(classes)}, received {name!r}")


def _splits(given: pd.Series, path: Path) -> list[str]:
    """Read the names of given splits; "" is none."""
    splits = []
    for i, name in enumerate(given):
        split = SPLIT_WORDS.get(name.strip().lower(), "")
        if name.strip() and not split:
            raise UserError(f"{path}: row {i + 1}: expected a split ({', '.join(SPLIT_WORDS)}), received {name!r}")
        splits.append(split)
    return splits


def _soft_labels(rows: pd.DataFrame, column: str, path: Path) -> pd.Series:
    values = pd.to_numeric(rows[column], errors="coerce")
    for i in values.index[~values.between(0, 1)]:
        raise UserError(f"{path}: row {i + 1}: {column}: expected a probability, received {rows[column][i]!r}")
    return values


def _confidence(soft: pd.Series, table: Table, path: Path) -> list[float]:
    """Look up the weight of each soft label; tables print thirds in different lengths, so close is equal."""
    weights = []
    for i, value in enumerate(soft):
        matches = [weight for given, weight in table.confidence if math.isclose(given, value, abs_tol=1e-3)]
        if table.confidence and not matches:
            given = [pair[0] for pair in table.confidence]
            raise UserError(f"{path}: row {i + 1}: expected a soft label with a confidence ({given}), received {value}")
        weights.append(matches[0] if matches else 1.0)
    return weights
