"""What a run costs: seconds and memory. Never the same twice, so it stands in files of its own (metrics/cost)."""

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KIB = 1024


def peak_memory() -> int:
    """Return the largest resident memory that this process has had, in bytes (Linux gives it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


@contextmanager
def measured(path: Path) -> Iterator[dict[str, object]]:
    """Time a block and write what it cost to `path` as JSON: seconds, peak_memory_bytes and what the block adds."""
    extra: dict[str, object] = {}
    start = time.perf_counter()
    yield extra
    cost = {"seconds": round(time.perf_counter() - start, 3), "peak_memory_bytes": peak_memory(), **extra}
    write_json(cost, path)


def write_json(value: object, path: Path) -> None:
    """Write a value as JSON with a line for each key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, object]:
    """Read an object that `write_json` wrote."""
    value: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return value
