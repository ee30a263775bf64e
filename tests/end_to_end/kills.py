"""Kill `dvc repro` in every stage, and see what comes out in the end.

Run as python -m tests.end_to_end.kills. The whole process group is killed with SIGKILL: DVC, the stage and what that
started. Results: killed.json in the folder benchmarks/results.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.clones import SCRATCH
from tests.conftest import ROOT
from tests.end_to_end.clones import Clone, working_tree
from transfer.cost import write_json

RESULTS = ROOT / "benchmarks/results/killed.json"
STARTS = "Running stage '"


@dataclass(frozen=True)
class Killed:
    """A run that was killed so many seconds after a stage began, unless that had ended before."""

    stage: str
    after_s: float
    ended: bool


def start(clone: Clone) -> "subprocess.Popen[str]":
    """Start `dvc repro` in a clone, as a process group of its own."""
    return subprocess.Popen(
        ["dvc", "repro"],
        cwd=clone.folder,
        env={**clone.environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def stage_seconds(clone: Clone) -> dict[str, float]:
    """Run undisturbed, and return how long each stage took, in the order in which they ran."""
    began: dict[str, float] = {}
    with start(clone) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(STARTS):
                began[line.split("'")[1]] = time.monotonic()
    if process.returncode:
        sys.exit(f"expected a whole run, received status {process.returncode}")
    ends = [*list(began.values())[1:], time.monotonic()]
    return {stage: end - begin for (stage, begin), end in zip(began.items(), ends, strict=True)}


def kill(clone: Clone, stage: str, after_s: float, before: Collection[str] = ()) -> Killed:
    """Start `dvc repro`, and kill it and all that it started so many seconds after a stage began.

    If the stage has ended in an earlier run, it is killed when another one begins that is none of those `before` it.
    """
    with start(clone) as process:
        assert process.stdout is not None
        begun = (line.split("'")[1] for line in process.stdout if line.startswith(STARTS))
        ended = next((name for name in begun if name not in before), "") != stage
        if not ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after_s)
        ended = ended or process.poll() is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return Killed(stage, round(after_s, 1), ended)


def chain(clone: Clone, seconds: dict[str, float], part: float) -> Iterator[Killed]:
    """Kill one run after the other, each in the next stage, when that part of it is done; then let one come to its end.

    Each run has to make good what the one before left.
    """
    stages = list(seconds)
    for number, stage in enumerate(stages):
        yield kill(clone, stage, part * seconds[stage], stages[:number])
    clone.dvc("repro")


def main() -> None:
    """Run once undisturbed, then in fresh clones of this checkout, made small, with every stage killed."""
    parser = argparse.ArgumentParser(prog="tests.end_to_end.kills")
    parser.add_argument("--parts", type=float, nargs="+", default=[0.25, 0.5, 0.75, 0.95])
    parts: list[float] = parser.parse_args().parts
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as temporary:
        folder = Path(temporary)
        origin = working_tree(folder / "origin")
        whole = origin.clone(folder / "whole")
        seconds = stage_seconds(whole)
        print({stage: round(taken, 1) for stage, taken in seconds.items()}, flush=True)
        expected, runs = whole.hashes(), []
        for part in parts:
            clone = origin.clone(folder / f"{part}")
            kills = [asdict(killed) for killed in chain(clone, seconds, part)]
            received = clone.hashes()
            differing = sorted(path for path in expected if received.get(path) != expected[path])
            runs.append({"part": part, "kills": kills, "outputs": len(expected), "differing": differing})
            print(runs[-1], flush=True)
            write_json({"runs": runs}, RESULTS)
    sys.exit(any(run["differing"] for run in runs))


if __name__ == "__main__":
    main()
