"""The runners that params.yaml may name: see `workers.work`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from transfer.core.params import Dask
from transfer.core.progress import progress_bar
from transfer.workers.dask_runner import dask_runner
from transfer.workers.work import Item, Result, Runner, Work


class LocalRunner:
    """Does all work in this process, in one run; the work itself uses all cores."""

    def run(self, work: Work[Item, Result], items: Iterable[Item], images: int, title: str) -> list[Result]:
        with progress_bar(images, title) as progress:
            return [work(items, progress.update)]


@contextmanager
def make_runner(name: str, dask: Dask) -> Iterator[Runner]:
    """Have the runner that params.yaml names.

    Raises:
        UserError: see `dask_runner`.
    """
    if name == "local":
        yield LocalRunner()
    else:
        with dask_runner(dask) as runner:
            yield runner
