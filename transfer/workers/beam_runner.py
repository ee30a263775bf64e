"""Work done by the workers of an Apache Beam pipeline, on one machine or many.

All workers see the project's folder, on a file system that they share, under the same path, and have the same packages
installed. The pipeline itself carries numbers only: items lie as files in a folder below .beam, and so does what the
work returns, since the program that starts a pipeline on a cluster gets no values back. A file is there whole or not at
all, so what was done stays done when a worker is killed.

The pipeline is started by a process of its own (`workers.beam_pipeline`). Beam's runner on one machine waits for ever
for a worker that was killed (seen with 2.77): this process then ends, and the pipeline is started again for what is not
done.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from transfer.core.errors import UserError
from transfer.core.progress import progress_bar
from transfer.workers.task import BAD_OPTIONS, Failed, dump, item_file, load, reason_file, result_file
from transfer.workers.work import Item, Result, Work

PLACE = Path(".beam")
CODE = Path(__file__).parents[2]  # what workers on this machine import
FRUITLESS = 2  # pipelines in a row that end badly with nothing done, after which the next would be no better
POLL_S = 0.5


def require_beam(options: Sequence[str]) -> None:
    """Check that Beam is installed, and options as far as their form goes.

    Raises:
        UserError: it is not, or an option is none.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise UserError(
            "params.yaml: runner: beam needs the Python package apache-beam, which is not installed: "
            "pip install -r requirements/beam.txt"
        )
    for option in options:
        if not option.startswith("--"):
            raise UserError(f"params.yaml: beam_options: options begin with --, and {option!r} does not")


class BeamRunner:
    """Has each item done by a worker of an Apache Beam pipeline.

    Args:
        options: of the pipeline, as its command line would have them.

    Raises:
        UserError: Beam is not installed, or an option is none.
    """

    def __init__(self, options: Sequence[str]) -> None:
        require_beam(options)
        self._options = list(options)
        self._log = PLACE / "log"
        shutil.rmtree(PLACE, ignore_errors=True)  # what a run that was killed has left
        PLACE.mkdir()

    def run(self, work: Work[Item, Result], items: Iterable[Item], images: int, title: str) -> list[Result]:
        scratch = Path(tempfile.mkdtemp(dir=PLACE)).resolve()
        try:
            (scratch / "options").write_text(json.dumps(self._options), encoding="utf-8")
            dump(work, scratch / "work")
            count = 0
            for count, item in enumerate(items, 1):
                dump(item, item_file(scratch, count - 1))
            self._until_done(scratch, count, images, title)
            return [load(result_file(scratch, number)) for number in range(count)]
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _until_done(self, scratch: Path, count: int, images: int, title: str) -> None:
        """Start pipelines until all items are done."""
        fruitless, done = 0, 0
        with progress_bar(images, title) as progress:
            while done < count:
                with _launched(scratch, self._log) as process:
                    while (status := _ended(process)) is None:
                        progress.update(images * len(list(scratch.glob("*.result"))) // count - progress.n)
                now = len(list(scratch.glob("*.result")))
                _raise_failure(scratch)
                if status == BAD_OPTIONS:
                    raise UserError(f"params.yaml: beam_options: {self._reason(scratch)}")
                fruitless = fruitless + 1 if now == done else 0
                done = now
                if done < count and fruitless == FRUITLESS:
                    raise UserError(
                        f"runner: beam: expected the workers to do all {count} parts of {title!r}, received a pipeline "
                        f"that ended, with status {status}, when {done} were done: {self._reason(scratch)}; "
                        f"{self._log} has all"
                    )
            progress.update(images - progress.n)

    def _reason(self, scratch: Path) -> str:
        """Return why the pipeline ended, as it says itself, or what was logged last."""
        reason = reason_file(scratch)
        lines = (reason if reason.exists() else self._log).read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing said")


def _raise_failure(scratch: Path) -> None:
    if (scratch / "failed").exists():
        for path in sorted(scratch.glob("*.result")):
            if isinstance(found := load(path), Failed):
                raise UserError(found.message)


def _ended(process: "subprocess.Popen[bytes]") -> int | None:
    """Wait a little, and return the status of a process if it has ended."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(POLL_S)
    return None


@contextmanager
def _launched(scratch: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start the pipeline; in the end none of its processes on this machine is left."""
    path = os.pathsep.join(filter(None, (str(CODE), os.environ.get("PYTHONPATH"))))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "transfer.workers.beam_pipeline", str(scratch)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
