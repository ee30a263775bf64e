"""Work done by the workers of a Dask cluster, on one machine or many.

Workers are started in the project's folder, which all machines share, and in its environment.
A task is a run of neighbouring items. Dask gives the task of a lost worker to another one, and new workers get a share
of what is left. What a worker must have in common with this process is compared before each task, so that one that
joins in the middle is no exception.
"""

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import pickle
import platform
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.core.errors import UserError, one_line
from transfer.core.params import Dask
from transfer.core.progress import progress_bar
from transfer.workers.work import Item, Result, Work

if TYPE_CHECKING:
    from distributed import Client

CODE = Path(__file__).parents[1]
FLAGS = "--nthreads 1 --memory-limit 0"
"""An item uses all cores, and Dask would share out memory by threads."""
TASKS, LONGEST = 16, 8
"""Tasks of a worker, as far as there are items for them, and items in a task at the most. Each task fills and drains a
worker's queues once more, and what a lost worker had begun is done again."""
TRIMS = "MALLOC_TRIM_THRESHOLD_"
SLOW = (
    f"warning: {{}} has {TRIMS} set, which about halves the rate of preprocess: set "
    "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON before you start workers (docs/scaling.md)"
)


def require_dask() -> None:
    """Check that Dask is installed.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec("distributed") is None:
        raise UserError(
            "runner: dask needs the Python package distributed, which is not installed: "
            "pip install -r requirements/dask.txt"
        )


@cache
def _fingerprint() -> dict[str, str]:
    """Return the versions of Python and of the pinned packages, and a hash of each of ours, as they are at first."""
    pinned = re.findall(r"^[\w.-]+(?===)", (CODE.parent / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    found = {"Python": platform.python_version()}
    for name in pinned:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    for folder in sorted(path.parent for path in CODE.glob("*/__init__.py")):
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
        found[f"transfer.{folder.name}"] = digest.hexdigest()[:12]
    return found


def _expected() -> dict[str, str]:
    """Return what workers need to have in common with this process: of our packages, those that it has imported."""
    ours = _fingerprint()
    return {name: ours[name] for name in ours if not name.startswith("transfer.") or name in sys.modules}


def _require_same(expected: dict[str, str], mark: str) -> None:
    """Check, on a worker, that it was started as it should be, where it should be, and with what it should have."""
    from distributed import get_worker

    worker = get_worker()
    where = f"the Dask worker at {worker.address}"
    if worker.state.nthreads != 1 or worker.memory_manager.memory_limit:
        raise UserError(f"{where} has other threads or another memory limit than it should: start it with {FLAGS}")
    if not Path(mark).exists():
        raise UserError(
            f"{where} runs in {Path.cwd()} and does not see the files of this project: start it in the project's "
            "folder, on a file system that all machines share"
        )
    found = _fingerprint()
    if different := [name for name in expected if found.get(name) != expected[name]]:
        name = different[0]
        raise UserError(
            f"{where} has {name} {found.get(name)}, expected {expected[name]}"
            f"{f' (and {len(different) - 1} others differ)' if different[1:] else ''}: install the same packages there "
            "and restart it to load the current code"
        )


def do(payload: bytes, expected: dict[str, str], mark: str) -> tuple[Any, str]:
    """Do a run of items, on a worker; return the result, and what to warn the user of."""
    from distributed import get_worker

    _require_same(expected, mark)
    where = f"the Dask worker at {get_worker().address}"
    work, run = pickle.loads(payload)  # noqa: S301 (whoever can send a task can run anything on this worker anyway)
    try:
        result = work(run, lambda _: None)
    except OSError as error:
        raise UserError(
            f"{where}: {one_line(error)}; correct its disk or mount, or stop it, then repeat the command"
        ) from None
    return result, SLOW.format(where) if TRIMS in os.environ else ""


class _Done:
    """A task that is done as it is unpickled.

    Dask is given `pickle.loads`, and this as bytes: a worker ends without a word where it does not find the function
    that it is given, while what goes wrong in that function is an error that comes back.
    """

    def __init__(self, *given: Any) -> None:
        self._given = given

    def __reduce__(self) -> tuple[Any, ...]:
        return do, self._given


class DaskRunner:
    """Has runs of items done by the workers of a Dask cluster."""

    def __init__(self, client: "Client") -> None:
        self._client, self._warned = client, False

    def _runs(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Divide items into tasks."""
        given = list(items)
        workers = max(1, len(self._client.scheduler_info()["workers"]))
        length = min(LONGEST, max(1, len(given) // (TASKS * workers)))
        return (given[start : start + length] for start in range(0, len(given), length))

    def run(self, work: Work[Item, Result], items: Iterable[Item], images: int, title: str) -> list[Result]:
        from distributed import as_completed

        done: dict[Any, Result] = {}
        with progress_bar(images, title) as progress, tempfile.NamedTemporaryFile(dir=".", prefix=".dask-") as mark:
            common = _expected(), Path(mark.name).name
            tasks = [pickle.dumps(_Done(pickle.dumps((work, run)), *common)) for run in self._runs(items)]
            futures = self._client.map(pickle.loads, tasks, pure=False, key=title)
            with _explained(title, self._client):
                for future in as_completed(futures, loop=self._client.loop):
                    done[future.key], warning = future.result()
                    if warning and not self._warned:
                        progress.write(warning, sys.stderr)
                        self._warned = True
                    progress.update(images * len(done) // len(tasks) - progress.n)
            return [done[future.key] for future in futures]


@contextmanager
def _explained(title: str, client: "Client") -> Iterator[None]:
    """Say in a line what went wrong with the cluster; what went wrong with the work says it itself."""
    from distributed import CancelledError, KilledWorker
    from distributed.comm import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise UserError(
            f"{title}: {error.allowed_failures + 1} Dask workers died of the same task, the last one at "
            f"{error.last_worker.address}: its log may say why; workers may need more memory"
        ) from None
    except ModuleNotFoundError as error:
        specs = client.run(importlib.util.find_spec, __package__.partition(".")[0])
        if not (without := [address for address, spec in specs.items() if spec is None]):
            raise
        raise UserError(
            f"{title}: the Dask worker at {without[0]} does not find the code of this project ({error}): start it in "
            "the project's folder by `python -m dask` (docs/scaling.md)"
        ) from None
    except (CancelledError, CommClosedError):
        raise UserError(
            f"{title}: the connection to the Dask scheduler is lost: start scheduler and workers again, then repeat "
            "the command, which goes on from what was done"
        ) from None


@contextmanager
def dask_runner(settings: Dask) -> Iterator[DaskRunner]:
    """Connect to the scheduler, or start a cluster on this machine for as long as the runner is used.

    Raises:
        UserError: Dask is not installed, or no scheduler answers.
    """
    require_dask()
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))  # what goes wrong is said in a line
        if settings.scheduler is None:
            # or a worker gives the memory of each image back to the system (docs/scaling.md), and BLAS uses one core
            stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ": {}}))
            cluster = LocalCluster(
                n_workers=settings.workers,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
            address = stack.enter_context(cluster)
        else:
            address = settings.scheduler
        try:
            client = stack.enter_context(Client(address, set_as_default=False))
        except (OSError, ValueError) as error:
            raise UserError(
                f"no Dask scheduler answers at {address} ({one_line(error)}); docs/scaling.md says how to start one"
            ) from None
        if not client.scheduler_info()["workers"]:
            print(
                f"{address}: no Dask worker yet; waiting for one (docs/scaling.md says how to start it)",
                file=sys.stderr,
            )
        yield DaskRunner(client)
