"""Tables in Markdown, and how figures are written in them and elsewhere."""

import pandas as pd

LONG_NUMBER = 5  # characters: 0.333 is not shortened

SMALLEST_P = 1e-300


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def p_value(p: float) -> str:
    """Write the value of a p behind its sign: "= 0.012"; one too small for a float, which is 0, is "< 1e-300"."""
    return f"= {p:.2g}" if p >= SMALLEST_P else f"< {SMALLEST_P:.0e}"


def interval(value: float, low: float | None, high: float | None, form: str = ".3f") -> str:
    """Write a figure with its interval; without one where there is none."""
    return f"{value:{form}} ({low:{form}} to {high:{form}})" if pd.notna(low) else f"{value:{form}}"


def short(value: str) -> str:
    """Write a number of many digits with three, and leave any other text as it is."""
    try:
        return f"{float(value):.3g}" if len(value) > LONG_NUMBER else value
    except ValueError:
        return value
