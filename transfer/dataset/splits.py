"""Divide the images into training, validation and test split.

Every stratum keeps its proportions, a group lies in one split, and a split that the dataset gives is kept. Which image
goes where follows from the seed and the image's name alone, by a hash, so that it is the same on every machine and with
every version of a library, and an image more or less moves few others.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from transfer.core.errors import UserError
from transfer.dataset.groups import rows_where
from transfer.dataset.labels import SPLITS

IN_ORDER = sorted(SPLITS)
KEY_BYTES = 16
HELD = 10_000  # names that are Python's strings at a time
Quotas = dict[str, NDArray[np.int64]]  # images of each stratum that go to each split, in a fixed order of splits


def take_stratified(labels: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return `count` of the rows, with the proportions of strata and of given splits, in the order that they had."""
    if count >= len(labels):
        return labels
    strata = labels["stratum"].astype(str) + "/" + labels["split"]
    share = Fraction(count, len(labels))
    quotas = _apportion(Counter(strata), [share, 1 - share])
    kept: list[int] = []
    for stratum, rows in _rows_by(strata, np.arange(len(strata))).items():
        kept += _shuffled(rows, labels["image"], seed)[: quotas[stratum][0]].tolist()
    return labels.iloc[sorted(kept)]


def split(labels: pd.DataFrame, classes: tuple[str, ...], test: float, validation: float, seed: int) -> pd.Series:
    """Assign every image to a split.

    Where the dataset gives splits, they are kept, and one that it does not give is drawn from the training images. An
    image without a given split follows its group, or else belongs to those that are drawn from. Strata without groups
    are divided in proportion, to within one image; groups, the largest first, go where most room is left for them.

    Args:
        labels: a row for each image: image, label, stratum, group ("" for none) and split ("" for none given).
        classes: names of all classes.
        test: fraction, for the test split, of the images that splits are drawn from.
        validation: likewise for the validation split.
        seed: of the draw.

    Returns:
        "train", "validation" or "test" for each row, categorical, with the index of `labels`.

    Raises:
        UserError: a class has too few images for every split to hold one, or a group is given to two splits.
    """
    labels = labels.astype({"label": "category", "stratum": "category"})  # a byte or two for each image
    _require_enough(labels, classes)
    given = follow_groups(labels)["split"]
    fractions = {
        name: share for name, share in (("test", test), ("validation", validation)) if name not in given.unique()
    }
    free = given.isin(["", "train"])
    numbers = np.full(len(labels), IN_ORDER.index("train"), np.int8)  # of splits: a byte for each image
    for number, name in enumerate(IN_ORDER):
        numbers[given == name] = number
    if fractions:
        numbers[free] = _draw(rows_where(labels, free), fractions, seed)
    result = pd.Series(pd.Categorical.from_codes(numbers, pd.Index(IN_ORDER)), labels.index, name="split")
    advice = "params.yaml: split, max_images; or the classes need more images or groups, of which copies count once"
    require_classes(labels.assign(split=result), classes, advice)
    return result


def require_classes(labels: pd.DataFrame, classes: tuple[str, ...], advice: str) -> None:
    """Check that every split has an image of every class."""
    of_row, names = pd.factorize(labels["split"])
    for name, place in zip(SPLITS, names.get_indexer(pd.Index(SPLITS)), strict=True):
        found = labels["label"][of_row == place]
        held = set(found.unique())
        if missing := [label for label in classes if label not in held]:
            raise UserError(
                f"split {name}: expected images of every class, received none of {missing} among {len(found)} "
                f"({advice})"
            )


def _require_enough(labels: pd.DataFrame, classes: tuple[str, ...]) -> None:
    counts = labels["label"].value_counts()
    for name in classes:
        if counts.get(name, 0) < len(SPLITS):
            raise UserError(
                f"class {name!r}: expected at least {len(SPLITS)} usable images, one for each split, "
                f"received {counts.get(name, 0)}; add images, or merge or remove the class"
            )


def follow_groups(labels: pd.DataFrame) -> pd.DataFrame:
    """Give images without a split the one that their group has, if it has one.

    Raises:
        UserError: a group is given to two splits.
    """
    grouped = labels[(labels["group"] != "") & (labels["split"] != "")]
    counts = grouped.groupby("group")["split"].nunique()
    if len(torn := counts[counts > 1]):
        splits = sorted(set(grouped["split"][grouped["group"] == torn.index[0]]))
        raise UserError(f"group {torn.index[0]!r}: its images are given to several splits, {splits}; put them into one")
    of_group = dict(zip(grouped["group"], grouped["split"], strict=True))
    followed = labels["split"].copy()
    free = (followed == "") & labels["group"].isin(of_group)
    followed[free] = labels["group"][free].map(of_group)
    return labels.assign(split=followed)


def _draw(pool: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> NDArray[np.int8]:
    """Draw the splits that `fractions` names from a pool of images; the rest is trained on. Return their numbers."""
    names = [*fractions, "train"]
    shares = [Fraction(str(share)) for share in fractions.values()]
    shares.append(1 - sum(shares, Fraction(0)))
    quotas = _apportion(_sizes(pool["stratum"]), shares)
    _one_of_each_class(quotas, pool, shares)
    room = {stratum: counts.copy() for stratum, counts in quotas.items()}
    stratum_of, strata = pool["stratum"].cat.codes.to_numpy(), pool["stratum"].cat.categories
    place_of, single = np.empty(len(pool), np.int8), np.ones(len(pool), bool)
    for rows in _groups_by_size(pool["group"], seed):
        single[rows] = False
        wanted = Counter(strata[stratum_of[rows]])
        place_of[rows] = place = _place(wanted, room, quotas)
        for stratum, count in wanted.items():
            room[stratum][place] -= count
    rows_alone = np.flatnonzero(single).astype(np.int32)  # 4 bytes each, as there may be very many
    for stratum, alone in _rows_by(pool["stratum"][single], rows_alone).items():
        order = _shuffled(alone, pool["image"], seed)
        ends = np.cumsum(np.maximum(0, room[stratum][:-1]))
        for place, rows in enumerate(np.split(order, ends)):
            place_of[rows] = place
    return np.array([IN_ORDER.index(name) for name in names], np.int8)[place_of]


def _place(wanted: Mapping[str, int], room: Quotas, quotas: Quotas) -> int:
    """Choose the split for a group: where it overfills least; of these, where the largest part is still free."""
    free = np.maximum(0, [room[stratum] for stratum in wanted])  # (strata, splits)
    over = np.maximum(0, np.array(list(wanted.values()))[:, None] - free).sum(axis=0)
    whole = np.sum([quotas[stratum] for stratum in wanted], axis=0)
    part = free.sum(axis=0) / np.maximum(1, whole)
    return min(range(len(over)), key=lambda place: (over[place], -part[place], -place))


def _groups_by_size(groups: pd.Series, seed: int) -> list[NDArray[np.integer]]:
    """Rows of each group of several images, the largest group first."""
    named = np.flatnonzero(groups != "")
    several = named[groups.iloc[named].duplicated(keep=False)]
    rows_of = _rows_by(groups.iloc[several], several)
    return [rows_of[name] for name in sorted(rows_of, key=lambda name: (-len(rows_of[name]), _key(name, seed)))]


def _rows_by(values: pd.Series, rows: NDArray[np.integer]) -> dict[str, NDArray[np.integer]]:
    """Group row numbers by value."""
    return {str(name): rows[places] for name, places in values.groupby(values).indices.items()}


def _sizes(strata: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in strata.value_counts().items() if count}


def _key(name: str, seed: int) -> bytes:
    content = name.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=KEY_BYTES, key=str(seed).encode()).digest()


def _shuffled(rows: NDArray[np.integer], images: pd.Series, seed: int) -> NDArray[np.integer]:
    keys = np.empty(len(rows), f"S{KEY_BYTES}")
    for start in range(0, len(rows), HELD):
        some = slice(start, start + HELD)
        keys[some] = [_key(image, seed) for image in images.iloc[rows[some]]]
    return rows[np.argsort(keys, kind="stable")]


def _apportion(sizes: Mapping[str, int], shares: Sequence[Fraction]) -> Quotas:
    """Divide strata so that each cell and each column is its proportion rounded down or up, and rows add up.

    Such a controlled rounding always exists (Bacharach 1966, doi:10.1287/mnsc.12.9.732); it is a flow: the units that
    rounding down leaves over in each stratum go to splits that still need some, at most one a cell.

    Args:
        sizes: of the strata.
        shares: of the splits; they add up to 1.

    Returns:
        Images of each stratum, for each of the splits.
    """
    names = sorted(sizes)
    totals = [share * sum(sizes.values()) for share in shares]
    exact = [[sizes[name] * share for share in shares] for name in names]
    exact.append([math.ceil(total) - total for total in totals])  # fills the columns up to whole numbers
    cells = np.array([[math.floor(value) for value in row] for row in exact], np.int64)
    rows = np.array([int(sum(row)) for row in exact]) - cells.sum(axis=1)
    columns = np.array([math.ceil(total) for total in totals]) - cells.sum(axis=0)
    allowed = np.array([[value.denominator > 1 for value in map(Fraction, row)] for row in exact])
    cells += _flow(rows, columns, allowed)
    return dict(zip(names, cells[:-1], strict=True))


def _flow(rows: NDArray[np.int64], columns: NDArray[np.int64], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return a matrix of 0 and 1, 1 only where `allowed`, with these sums of rows and columns."""
    strata, splits = allowed.shape
    source, sink = strata + splits, strata + splits + 1
    row, column = np.nonzero(allowed)
    start = np.concatenate([np.full(strata, source), row, strata + np.arange(splits)])
    end = np.concatenate([np.arange(strata), strata + column, np.full(splits, sink)])
    capacity = np.concatenate([rows, np.ones(len(row)), columns]).astype(np.int32)
    graph = csr_array((capacity, (start, end)), shape=(sink + 1, sink + 1))
    flow = maximum_flow(graph, source, sink).flow[:strata, strata:source]
    return np.asarray(flow.toarray(), np.int64)


def _one_of_each_class(quotas: Quotas, pool: pd.DataFrame, shares: Sequence[Fraction]) -> None:
    """Give every split one image at least of every class, from where the class has most above its proportion."""
    sizes = _sizes(pool["stratum"])
    for found in pool.groupby("label")["stratum"].unique():
        strata = sorted(found)
        for place in range(len(shares)):
            held = [sum(int(quotas[stratum][split]) for stratum in strata) for split in range(len(shares))]
            donors = [
                (quotas[stratum][split] - sizes[stratum] * share, sizes[stratum], stratum, split)
                for stratum in strata
                for split, share in enumerate(shares)
                if held[split] > 1 and quotas[stratum][split] > 0
            ]
            if held[place] == 0 and donors:
                _, _, stratum, donor = max(donors)
                quotas[stratum][donor] -= 1
                quotas[stratum][place] += 1
