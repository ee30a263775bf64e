"""Divide the images into training, validation and test split."""

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from transfer.errors import UserError

SPLITS = ("train", "validation", "test")


def take_stratified(labels: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return `count` of the rows, with the proportions of the column `stratum`, in the order that they had."""
    if count >= len(labels):
        return labels
    kept, _ = _divide(labels, len(labels) - count, seed)
    return kept


def _divide(labels: pd.DataFrame, count: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take `count` rows out of `labels`, stratified, and return the rest and what was taken, each in order."""
    sizes = labels["stratum"].map(labels["stratum"].value_counts())
    # A stratum of one cannot be divided in proportion, so all such are drawn from together, class by class.
    stratum = labels["stratum"].where(sizes > 1, "rare " + labels["label"])
    rare = stratum.map(stratum.value_counts()) == 1
    stratum = stratum.where(~rare, "rare")
    strata = stratum.nunique()
    divisible = strata <= min(count, len(labels) - count) and stratum.value_counts().min() > 1
    rest, taken = train_test_split(
        np.arange(len(labels)), test_size=count, random_state=seed, stratify=stratum if divisible else labels["label"]
    )
    return labels.iloc[np.sort(rest)], labels.iloc[np.sort(taken)]


def split(labels: pd.DataFrame, classes: tuple[str, ...], test: float, validation: float, seed: int) -> pd.Series:
    """Assign every image to a split, stratified, the same on every machine.

    Args:
        labels: a row for each image: image, label, stratum.
        classes: names of all classes.
        test: fraction of all images for the test split.
        validation: likewise for the validation split, drawn from what the test split leaves.
        seed: of the draw.

    Returns:
        "train", "validation" or "test" for each row, with the index of `labels`.

    Raises:
        UserError: a class has fewer than three images, or a split would hold none of it.
    """
    labels = labels.sort_values("image")
    counts = labels["label"].value_counts()
    for name in classes:
        if counts.get(name, 0) < len(SPLITS):
            raise UserError(
                f"class {name!r}: expected at least {len(SPLITS)} usable images, one for each split, "
                f"received {counts.get(name, 0)}"
            )
    total = len(labels)
    sizes = {"test": round(test * total), "validation": round(validation * total)}
    for name, size in {**sizes, "train": total - sum(sizes.values())}.items():
        if size < len(classes):
            raise UserError(
                f"split {name}: expected room for each of the {len(classes)} classes, received {size} of {total} "
                "images (params.yaml: split, max_images)"
            )
    rest, tested = _divide(labels, sizes["test"], seed)
    trained, validated = _divide(rest, sizes["validation"], seed)
    for name, part in (("train", trained), ("validation", validated), ("test", tested)):
        if missing := [label for label in classes if label not in set(part["label"])]:
            raise UserError(
                f"split {name}: expected images of every class, received none of {missing} among {len(part)} "
                "(params.yaml: split; or the classes need more images)"
            )
    result = pd.Series("train", index=labels.index, name="split")
    result[validated.index] = "validation"
    result[tested.index] = "test"
    return result
