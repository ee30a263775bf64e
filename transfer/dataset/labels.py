"""What the columns of data/raw/labels.csv and data/splits.csv hold: names of splits, and of strata.

The name of a stratum is the class and the values of the columns that the splits keep the proportions of.
"""

LABEL_COLUMNS = ["image", "label", "soft_label", "confidence", "stratum", "group", "split"]
SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""What people call the splits, and what they are called here."""
MARK, SEPARATOR = "%", "/"
ESCAPED = {MARK: "%25", SEPARATOR: "%2F"}


def join_stratum(label: str, *values: str) -> str:
    """Name a stratum CLASS/VALUE/VALUE…; in a value, / is written %2F and % is written %25, so that N/A stays one."""
    escaped = [value.replace(MARK, ESCAPED[MARK]).replace(SEPARATOR, ESCAPED[SEPARATOR]) for value in values]
    return SEPARATOR.join([label, *escaped])


def split_stratum(stratum: str, label: str) -> list[str]:
    """Return the values in a stratum's name; `label` is its class, which may have a / of its own."""
    _, *values = stratum.removeprefix(label).split(SEPARATOR)
    return [value.replace(ESCAPED[SEPARATOR], SEPARATOR).replace(ESCAPED[MARK], MARK) for value in values]
