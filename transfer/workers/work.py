"""Where a stage's work is done: in this process, or by the workers of a Dask cluster.

Work is a function of a run of neighbouring items, which are described and not held: files to read, rows to compute. Its
bulky output goes to files of its own, or to places in files that no other item has, so that an item can be done twice
without harm; what it returns is small. What is made is the same, byte for byte, wherever and in however many runs.
"""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int], object]
"""Takes the number of images that were done since it was last called."""

Work = Callable[[Iterable[Item], Progress], Result]


class Runner(Protocol):
    """Has work done."""

    def run(self, work: Work[Item, Result], items: Iterable[Item], images: int, title: str) -> list[Result]:
        """Divide items into runs of neighbours, and return what `work` makes of each run, in their order.

        Args:
            work: called at least once where there are items. It and the items can be pickled.
            items: may be made as they are asked for.
            images: how many all items have, for a progress bar.
            title: of the progress bar.

        Raises:
            UserError: the work raised one, or the workers could not do it.
        """
