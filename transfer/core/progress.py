"""Progress bars: lively on a terminal, a line now and then in a log."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int, title: str, unit: str = "image") -> "tqdm[Any]":
    """Return a progress bar over `total` units."""
    interval = 0.2 if sys.stderr.isatty() else 15
    return tqdm(None, total=total, desc=title, unit=unit, mininterval=interval)
