"""A Dask cluster for tests, its scheduler and workers in processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.conftest import ROOT
from transfer.core.params import Dask
from transfer.workers.dask_runner import FLAGS
from transfer.workers.runners import make_runner
from transfer.workers.work import Runner

PATIENCE_S = 60
OWN_FOLDERS = """
mount -t tmpfs own /mnt
mkdir /mnt/code /mnt/shared
mount --bind "$1" /mnt/code
test -z "$2" || mount --bind "$3" /mnt/shared
mount -t tmpfs own /tmp
export HOME=/tmp/home
mkdir -p "$1" "$3" "$HOME"
mount --bind /mnt/code "$1"
mount --bind /mnt/shared "$3"
cd "$3"
shift 3
exec "$@"
"""


def own_folders(sees: bool = True) -> tuple[str, ...]:
    """Begin a command that has a temporary folder and a home of its own, and the working directory if it `sees` it."""
    given = (str(ROOT), "sees" if sees else "", str(Path.cwd()))
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", OWN_FOLDERS, "sh", *given)


class Cluster:
    """A scheduler, to which workers can be added. `machine` begins the command that runs something elsewhere."""

    def __init__(self, stack: ExitStack, host: str = "127.0.0.1", machine: tuple[str, ...] = ()) -> None:
        self._stack, file = stack, Path("scheduler.json")
        options = ["--host", host, "--port", "0", "--scheduler-file", str(file)]
        self.scheduler = self._start(["scheduler", *options], machine, None, Path())
        wait_until(lambda: file.exists() and file.read_text(encoding="utf-8").endswith("\n}"))  # the last thing in it
        self.address = json.loads(file.read_text(encoding="utf-8"))["address"]

    def worker(
        self, *options: str, machine: tuple[str, ...] = (), code: Path | None = ROOT, folder: Path = Path()
    ) -> "subprocess.Popen[bytes]":
        """Start a worker, which finds no code of ours where `code` is None."""
        given = [self.address, "--no-nanny", "--no-dashboard", *(options or FLAGS.split())]
        return self._start(["worker", *given], machine, code, folder)

    def runner(self) -> AbstractContextManager[Runner]:
        """Have the runner that a stage would have."""
        return make_runner("dask", Dask(self.address, 1))

    def _start(
        self, arguments: list[str], machine: tuple[str, ...], code: Path | None, folder: Path
    ) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*machine, sys.executable, "-m", "dask", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(code), str(ROOT))) if code else ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


def wait_until(until: Callable[[], bool]) -> None:
    """Wait for something, but not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)
