"""Tables in Markdown, and how figures are written in them and elsewhere."""

import pandas as pd


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def interval(value: float, low: float | None, high: float | None, form: str = ".3f") -> str:
    """Write a figure with its interval; without one where there is none."""
    return f"{value:{form}} ({low:{form}} to {high:{form}})" if pd.notna(low) else f"{value:{form}}"
