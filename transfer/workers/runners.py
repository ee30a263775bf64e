"""The runners that params.yaml may name: see `workers.work`."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from transfer.core.params import Dask
from transfer.core.progress import progress_bar
from transfer.workers.dask_runner import dask_runner
from transfer.workers.work import Item, Result, Runner, Work


class LocalRunner:
    """Does all work in this process, in one run; the work itself uses all cores."""

    def run(self, work: Work[Item, Result], items: Iterable[Item], images: int, title: str) -> list[Result]:
        with progress_bar(images, title) as progress:
            return [work(items, progress.update)]


def make_runner(name: str, dask: Dask) -> AbstractContextManager[Runner]:
    """Have the runner that params.yaml names.

    Raises:
        UserError: see `dask_runner`.
    """
    return nullcontext(LocalRunner()) if name == "local" else dask_runner(dask)
