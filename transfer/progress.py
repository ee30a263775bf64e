"""Progress bars: lively on a terminal, a line now and then in a log."""

import sys

from tqdm import tqdm


def progress_bar(total: int, title: str, unit: str = "image") -> "tqdm[None]":
    """Return a progress bar over `total` units."""
    return tqdm(total=total, desc=title, unit=unit, mininterval=0.2 if sys.stderr.isatty() else 15)
