"""Images that belong together: by the dataset's groups, and because they are the same.

A table of images gets two columns: `identical` and `same`, numbers that images share which are identical, or identical
or alike (see `dataset.duplicates`).
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from transfer.dataset.duplicates import Same
from transfer.dataset.labels import SPLITS


def rows_where(table: pd.DataFrame, chosen: pd.Series) -> pd.DataFrame:
    """Return the chosen rows: the table itself where these are all, as a copy would hold every name once more."""
    return table if chosen.all() else table[chosen]


def mark_same(labels: pd.DataFrame, images: pd.Series, bad: Iterable[str], same: Same) -> pd.DataFrame:
    """Add the columns `identical` and `same` to `labels`, and `place`, the number that an image has among `images`.

    `images` are those that `same` has numbers of; the others, `bad`, which could not be decoded, have the place -1.
    """
    order = labels["image"].argsort().to_numpy()  # a look-up would hold all names once more
    place = np.full(len(labels), -1, np.int32)
    place[order[~labels["image"].isin(bad).to_numpy()[order]]] = images.argsort()
    alone = -1 - np.arange(len(labels), dtype=np.int32)  # an image that could not be decoded is like no other
    columns = {
        name: np.where(place < 0, alone, values[place]) if len(values) else alone
        for name, values in (("identical", same.identical), ("same", same.alike))
    }
    return labels.assign(place=place, **columns)


def follow_copies(marked: pd.DataFrame) -> pd.DataFrame:
    """Give images without a split the one of their copies, also by way of their group and of other such images.

    Where copies are in several splits, it is the test split before the validation split before the training split.
    What has a split keeps it.
    """
    result = marked["split"].copy()
    for name in sorted(set(result.unique()) - {""}, key=SPLITS.index, reverse=True):
        free = marked.loc[result.isin(["", name]), ["image", "group", "same"]]
        groups = merged_groups(free)
        held = set(groups[result[free.index] == name].unique()) - {""}
        result[free.index[groups.isin(held)]] = name
    return marked.assign(split=result)


def leaks(marked: pd.DataFrame) -> pd.DataFrame:
    """Return the images to leave out because another split has the same image.

    The test split keeps all it is given, the validation split what is not in it, the training split what is in neither.

    Returns:
        Columns image and reason, sorted by image.
    """
    given = marked[(marked["split"] != "") & marked["same"].duplicated(keep=False)]
    found = []
    for _, rows in given.groupby("same"):
        kept = max(rows["split"], key=SPLITS.index)
        first = rows["image"][rows["split"] == kept].iloc[0]
        found += [
            (image, f"a copy of {first}, which is in the {kept} split")
            for image in rows["image"][rows["split"] != kept]
        ]
    return pd.DataFrame(sorted(found), columns=["image", "reason"])


def merged_groups(marked: pd.DataFrame) -> pd.Series:
    """Join groups that share the same images. A group is called by its first image; "" is an image by itself."""
    together = (marked["group"] != "") | marked["same"].duplicated(keep=False)
    some = marked.loc[together, ["image", "group", "same"]]  # mostly a few of many
    count = len(some)
    alike = pd.factorize(some["same"])[0]
    given = pd.factorize(some["group"].where(some["group"] != "", "/" + some["image"]))[0]
    nodes = np.arange(count)
    ends = np.concatenate([count + alike, count + count + given])
    graph = coo_array((np.ones(2 * count), (np.concatenate([nodes, nodes]), ends)), shape=(3 * count, 3 * count))
    component = pd.Series(connected_components(graph, directed=False)[1][:count], some.index)
    several = some[component.duplicated(keep=False)]
    groups = pd.Series("", marked.index)
    groups[several.index] = several["image"].groupby(component[several.index]).transform("min")
    return groups


def duplicates_table(marked: pd.DataFrame, used: pd.DataFrame) -> pd.DataFrame:
    """List the images that are the same as another.

    Returns:
        Columns same and identical (the name of the first such image), image, label and split ("" where it is left out).
    """
    several = marked[marked["same"].duplicated(keep=False)]
    names = {name: several.groupby(name)["image"].transform("min") for name in ("same", "identical")}
    kept = used[used["image"].isin(several["image"])]
    splits = dict(zip(kept["image"], kept["split"], strict=True))
    table = several.assign(**names, split=[splits.get(image, "") for image in several["image"]])
    return table[["same", "identical", "image", "label", "split"]].sort_values(["same", "image"], ignore_index=True)
