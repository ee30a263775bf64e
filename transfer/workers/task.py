"""An item of work as a file, and what a worker of a Beam pipeline does with it: see `workers.beam_runner`."""

import os
import pickle
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer.core.errors import UserError
from transfer.core.files import written_whole

FAILED, BAD_OPTIONS, WORKER_LOST = 1, 2, 3  # statuses with which the process that starts a pipeline ends
LOCK = threading.Lock()
"""An item uses all cores and a network's engine takes no two callers, so a process does one item at a time."""


@dataclass(frozen=True)
class Failed:
    """What the work says is wrong with what the user gave."""

    message: str


def dump(value: object, path: Path) -> None:
    """Write a value for another process, whole or not at all."""
    with written_whole(path, shared=True) as part:
        part.write_bytes(pickle.dumps(value))


def load(path: Path) -> Any:
    """Read what `dump` wrote."""
    return pickle.loads(path.read_bytes())  # noqa: S301 (written by this program, into the user's own folder)


def item_file(folder: Path, number: int) -> Path:
    """Return the file of an item, counted from 0."""
    return folder / f"{number:07}.item"


def result_file(folder: Path, number: int) -> Path:
    """Return the file of what an item, counted from 0, was made into."""
    return folder / f"{number:07}.result"


def reason_file(folder: Path) -> Path:
    """Return the file in which the process that starts a pipeline says why it ended."""
    return folder / "reason"


@dataclass(frozen=True)
class Task:
    """Does an item, given its number: what a worker calls. `folder` is absolute, `project` the one that it enters."""

    folder: Path
    project: Path

    def __call__(self, number: int) -> None:
        """Do it, unless it is done, and write what it was made into."""
        result = result_file(self.folder, number)
        failed = self.folder / "failed"
        with LOCK:
            if result.exists() or failed.exists():
                return
            os.chdir(self.project)
            work = load(self.folder / "work")
            try:
                dump(work([load(item_file(self.folder, number))], lambda _: None), result)
            except UserError as error:  # no second try would go better
                dump(Failed(str(error)), result)
                failed.touch()
