"""Tables in Markdown, and how figures and names are written in them and elsewhere."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import pandas as pd

LONG_NUMBER = 5  # characters: 0.333 is not shortened

SMALLEST_P = 1e-300
MARKUP = re.compile(r"[\\`*\[\]<&]|(?<![^\W_])_|_(?![^\W_])")
"""What CommonMark may take for markup inside a line; an underscore between letters or digits is not."""


def plain(text: str) -> str:
    """Escape text that is not ours, such as the name of a class, so that Markdown shows it as it is, in one line."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def markdown_table(table: pd.DataFrame | Sequence[Mapping[str, str]], text: Collection[str] = ()) -> str:
    """Return a Markdown table of a data frame, or of rows: the first column and those in `text` to the left."""
    frame = pd.DataFrame(table)
    names = list(frame)
    rule = ["---" if name in (names[0], *text) else "---:" for name in names]
    lines: list[Iterable[object]] = [names, rule, *frame.itertuples(index=False, name=None)]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |" for line in lines)


def counted(number: int, one: str, many: str) -> str:
    """Write a number with its words: "1 image is", "2,000 images are"."""
    return f"{number:,} {one if number == 1 else many}"


def p_value(p: float) -> str:
    """Write the value of a p behind its sign: "= 0.012"; one too small for a float, which is 0, is "< 1e-300"."""
    return f"= {p:.2g}" if p >= SMALLEST_P else f"< {SMALLEST_P:.0e}"


def interval(value: float, low: float | None, high: float | None, form: str = ".3f") -> str:
    """Write a figure with its interval; without one where there is none."""
    return f"{value:{form}} ({low:{form}} to {high:{form}})" if pd.notna(low) else f"{value:{form}}"


def short(value: str) -> str:
    """Write a fraction of many digits with three, and leave any other text, such as a code of digits, as it is."""
    try:
        return f"{float(value):.3g}" if len(value) > LONG_NUMBER and "." in value else value
    except ValueError:
        return value
