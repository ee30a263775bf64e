"""The name of a stratum: the class and the values of the columns that the splits keep the proportions of."""

MARK, SEPARATOR = "%", "/"
LONG_NUMBER = 5  # characters: 0.333 is not shortened
ESCAPED = {MARK: "%25", SEPARATOR: "%2F"}


def join_stratum(label: str, *values: str) -> str:
    """Name a stratum CLASS/VALUE/VALUE…; in a value, / is written %2F and % is written %25, so that N/A stays one."""
    escaped = [value.replace(MARK, ESCAPED[MARK]).replace(SEPARATOR, ESCAPED[SEPARATOR]) for value in values]
    return SEPARATOR.join([label, *escaped])


def split_stratum(stratum: str, label: str) -> list[str]:
    """Return the values in a stratum's name; `label` is its class, which may have a / of its own."""
    _, *values = stratum.removeprefix(label).split(SEPARATOR)
    return [value.replace(ESCAPED[SEPARATOR], SEPARATOR).replace(ESCAPED[MARK], MARK) for value in values]


def short(value: str) -> str:
    """Write a number of many digits with three, and leave any other text as it is."""
    try:
        return f"{float(value):.3g}" if len(value) > LONG_NUMBER else value
    except ValueError:
        return value
