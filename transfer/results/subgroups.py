"""How good the models are in parts of the test split: for each value of each column that splits are stratified by."""

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from transfer.core.errors import UserError
from transfer.dataset.labels import split_stratum
from transfer.evaluation.scores import called_scores
from transfer.results.statistics import binomial_interval


def read_strata(path: Path, columns: tuple[str, ...], images: list[str]) -> pd.DataFrame:
    """Read the values that `images` have in the columns which the dataset's card stratifies by, from data/splits.csv.

    Returns a row for each image, in this order, and a column (text) for each of `columns`.

    Raises:
        UserError: the table lacks an image, or its strata are not of these columns.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False, lineterminator="\n").set_index("image")
    if missing := [image for image in images if image not in table.index]:
        raise UserError(f"{path}: expected all test images, received none called {missing[0]!r}: dvc repro -f evaluate")
    rows = table.loc[images]
    values = [split_stratum(*pair) for pair in zip(rows["stratum"], rows["label"], strict=True)]
    for image, found in zip(images, values, strict=True):
        if len(found) != len(columns):
            raise UserError(f"{path}: {image}: expected the values of {list(columns)}, received the stratum of {found}")
    return pd.DataFrame(values, columns=list(columns), index=range(len(images)))


def subgroups(predictions: Mapping[str, pd.DataFrame], strata: pd.DataFrame, positive: str | None) -> pd.DataFrame:
    """Score every model on every subgroup of the test images; `strata` has a column for each way to divide them.

    Returns:
        A row for each subgroup and model, the subgroups in the order of their values, numbers by size: column, value,
        images, model; accuracy with the ends of its exact binomial 95 % interval, _low and _high; recall of the
        positive class, NaN where none of the images is of it; f1 of it, NaN where the images are all of one class,
        which makes of F1 another way to write recall, or nothing.
    """
    rows = []
    for column in strata.columns:
        for value in sorted(strata[column].unique(), key=_by_size):
            inside = (strata[column] == value).to_numpy()
            for model, table in predictions.items():
                scores = _scores(table[inside], positive)
                rows.append({"column": column, "value": value, "images": int(inside.sum()), "model": model, **scores})
    names = ["column", "value", "images", "model", "accuracy", "accuracy_low", "accuracy_high", "recall", "f1"]
    return pd.DataFrame(rows, columns=names)


def _by_size(value: str) -> tuple[float, str]:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return (number if math.isfinite(number) else math.inf), value


def _scores(table: pd.DataFrame, positive: str | None) -> dict[str, float]:
    right = int((table["actual"] == table["predicted"]).sum())
    interval = binomial_interval(right, len(table))
    true = (table["actual"] == positive).to_numpy()
    scores = called_scores(true, (table["predicted"] == positive).to_numpy())
    return {
        "accuracy": round(right / len(table), 4),
        "accuracy_low": round(interval.low, 4),
        "accuracy_high": round(interval.high, 4),
        "recall": round(scores["recall"], 4) if true.any() else math.nan,
        "f1": round(scores["f1"], 4) if true.any() and not true.all() else math.nan,
    }
