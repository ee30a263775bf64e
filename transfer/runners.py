"""Where a stage's work is done: in this process, or by the workers of an Apache Beam pipeline.

Work is a function of a run of neighbouring items, which are described and not held: files to read, rows to compute. Its
bulky output goes to files of its own, or to places in files that no other item has, so that an item can be done twice
without harm; what it returns is small. What is made is the same, byte for byte, wherever and in however many runs.
"""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from transfer.progress import progress_bar

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


class LocalRunner:
    """Does all work in this process, in one run; the work itself uses all cores."""

    def run(self, work: Work[Item, Result], items: Iterable[Item], images: int, title: str) -> list[Result]:
        with progress_bar(images, title) as progress:
            return [work(items, progress.update)]


def make_runner(name: str, beam_options: Sequence[str]) -> Runner:
    """Return the runner that params.yaml names.

    Raises:
        UserError: Beam is not installed, or does not take these options.
    """
    if name == "local":
        return LocalRunner()
    from transfer.beam_runner import BeamRunner

    return BeamRunner(beam_options)


@contextmanager
def under_own_name(path: Path) -> Iterator[Path]:
    """Give a name to write under, beside `path`, that nobody else has, and that becomes `path` in the end.

    So there is the whole file or none, also where a worker is killed, or two do the same.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
