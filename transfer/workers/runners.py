"""The runners that params.yaml may name: see `workers.work`."""

from collections.abc import Iterable, Sequence

from transfer.core.progress import progress_bar
from transfer.workers.beam_runner import BeamRunner
from transfer.workers.work import Item, Result, Runner, Work


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
    return BeamRunner(beam_options)
