"""What the columns of data/raw/labels.csv and data/splits.csv hold: names of splits, and of strata.

The name of a stratum is the class and the values of the columns that the splits keep the proportions of.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from transfer.core.errors import UserError

LABEL_COLUMNS = ["image", "label", "soft_label", "confidence", "stratum", "group", "split"]
SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""What people call the splits, and what they are called here."""


def join_stratum(label: str, *values: str) -> str:
    """Name a stratum CLASS/VALUE/VALUE…; in a value, / is written %2F and % is written %25, so that N/A stays one."""
    return "/".join([label, *(value.replace("%", "%25").replace("/", "%2F") for value in values)])


def split_stratum(stratum: str, label: str) -> list[str]:
    """Return the values in a stratum's name; `label` is its class, which may have a / of its own."""
    _, *values = stratum.removeprefix(label).split("/")
    return [value.replace("%2F", "/").replace("%25", "%") for value in values]


def require_enough(dataset: Path, counts: Mapping[tuple[str, str], int], classes: Sequence[str]) -> None:
    """Check that each split has an image of every class, and train one more for each split that is drawn from it.

    Args:
        dataset: that the error names.
        counts: images of each split ("" where none is given) and class.
        classes: names of all classes.

    Raises:
        UserError: a class has too few images, in all or in a given split.
    """
    given = {split for split, _ in counts} - {""}
    drawn = [split for split in SPLITS if split not in {"train", *given}]
    few = []
    for split in ("train", *(split for split in SPLITS if split in given - {"train"})):
        needed = 1 + len(drawn) if split == "train" else 1
        for name in classes:
            held = counts.get((split, name), 0) + (counts.get(("", name), 0) if split == "train" else 0)
            if held < needed:
                few.append(f"{f'{split} has {held} of {name}' if given else f'{name} has {held}'} and needs {needed}")
    if few:
        why = f" ({' and '.join(drawn)} drawn from train)" if given and drawn else ""
        raise UserError(
            f"{dataset}: every class needs a readable image in each of {', '.join(SPLITS)}{why}: {', '.join(few)}. Add "
            "images, or move the class elsewhere" + (", or put the images of the split into train" if given else "")
        )
