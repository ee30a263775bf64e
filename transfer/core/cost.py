"""What a run costs: seconds and memory. It differs from run to run, so it has files of its own (metrics/cost)."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transfer.core.files import write_json

KIB = 1024


def peak_memory() -> int:
    """Return the largest resident memory that this process has had, in bytes.

    On Linux it is VmHWM: ru_maxrss, which stands in where there is no /proc, counts the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    return int(status.split("VmHWM:")[1].split()[0]) * KIB


@contextmanager
def measured(path: Path) -> Iterator[dict[str, Any]]:
    """Time a block and write what it cost to `path` as JSON: seconds, peak_memory_bytes and what the block adds.

    The seconds that the block leaves under "seconds_before" are added to its own.
    """
    extra: dict[str, Any] = {}
    start = time.perf_counter()
    yield extra
    seconds = time.perf_counter() - start + extra.pop("seconds_before", 0.0)
    cost = {"seconds": round(seconds, 3), "peak_memory_bytes": peak_memory(), **extra}
    write_json(cost, path)
