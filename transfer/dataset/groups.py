"""Images that belong together: by the dataset's groups, and because they are the same.

A table of images gets two columns: `identical` and `same`, numbers that images share which are identical, or identical
or alike (see `dataset.duplicates`).
"""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from transfer.dataset.duplicates import Same
from transfer.dataset.labels import SPLITS


def mark_same(labels: pd.DataFrame, images: list[str], same: Same) -> pd.DataFrame:
    """Add the columns `identical` and `same` to `labels`; `images` are those that `same` has numbers of."""
    alone = -1 - np.arange(len(labels))  # an image that could not be decoded is like no other
    numbers = pd.Series(range(len(images)), images)
    found = labels["image"].map(numbers)
    rows = found.notna().to_numpy()
    columns = {}
    for name, values in (("identical", same.identical), ("same", same.alike)):
        columns[name] = alone.copy()
        columns[name][rows] = values[found[rows].to_numpy(np.int64)]
    return labels.assign(**columns)


def follow_copies(marked: pd.DataFrame) -> pd.DataFrame:
    """Give images without a split the one of their copies, also by way of their group and of other such images.

    Where copies are in several splits, it is the test split before the validation split before the training split.
    What has a split keeps it.
    """
    result = marked["split"].copy()
    for name in reversed(SPLITS):
        free = marked[result.isin(["", name])]
        groups = pd.Series(merged_groups(free), free.index)
        held = set(groups[result[free.index] == name]) - {""}
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


def merged_groups(marked: pd.DataFrame) -> list[str]:
    """Join groups that share the same images. A group is called by its first image; "" is an image by itself."""
    count = len(marked)
    alike = pd.factorize(marked["same"])[0]
    given = pd.factorize(marked["group"].where(marked["group"] != "", "/" + marked["image"]))[0]
    nodes = np.arange(count)
    ends = np.concatenate([count + alike, count + count + given])
    graph = coo_array((np.ones(2 * count), (np.concatenate([nodes, nodes]), ends)), shape=(3 * count, 3 * count))
    component = connected_components(graph, directed=False)[1][:count]
    frame = pd.DataFrame({"component": component, "image": marked["image"].to_numpy()})
    first = frame.groupby("component")["image"].transform("min")
    several = frame["component"].duplicated(keep=False)
    return list(first.where(several, ""))


def duplicates_table(marked: pd.DataFrame, used: pd.DataFrame) -> pd.DataFrame:
    """List the images that are the same as another.

    Returns:
        Columns same and identical (the name of the first such image), image, label and split ("" where it is left out).
    """
    several = marked[marked["same"].duplicated(keep=False)]
    names = {name: several.groupby(name)["image"].transform("min") for name in ("same", "identical")}
    splits = dict(zip(used["image"], used["split"], strict=True))
    table = several.assign(**names, split=[splits.get(image, "") for image in several["image"]])
    return table[["same", "identical", "image", "label", "split"]].sort_values(["same", "image"], ignore_index=True)
