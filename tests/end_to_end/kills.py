"""Kill `dvc repro` at points spread over a run, and see what the next one comes to: python -m tests.end_to_end.kills

The whole process group is killed with SIGKILL: DVC, the stage and what that started. Results: killed.json in the
folder benchmarks/results.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.clones import SCRATCH
from tests.conftest import ROOT
from tests.end_to_end.clones import Clone, Ran, working_tree
from transfer.cost import write_json

RESULTS = ROOT / "benchmarks/results/killed.json"


@dataclass(frozen=True)
class Killed:
    """A run that was killed: when, in which stage, and the outputs whose hashes the next run gave otherwise."""

    after_s: float
    stage: str
    again_s: float
    stages_again: int
    differing: list[str]


def killed(clone: Clone, after_s: float) -> Ran:
    """Start `dvc repro` in a clone, kill it and all that it started, and return what it had said."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            ["dvc", "repro"],
            cwd=clone.folder,
            env=clone.environment(),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return Ran(process.returncode, said.read().decode(errors="replace"))


def try_point(clone: Clone, after_s: float, expected: dict[str, str]) -> Killed:
    """Kill a run in a fresh clone, run again, and compare with the hashes of an undisturbed run."""
    first = killed(clone, after_s)
    stage = ["before the first", *first.started][-1] if first.status else "none: it had ended"
    start = time.monotonic()
    again = clone.dvc("repro", status=None)
    seconds = time.monotonic() - start
    if again.status:
        print(again.output[-3000:], file=sys.stderr)
        return Killed(after_s, stage, round(seconds, 1), 0, ["dvc repro failed"])
    received = clone.hashes()
    differing = sorted(path for path in expected if received.get(path) != expected[path])
    return Killed(after_s, stage, round(seconds, 1), len(again.stages), differing)


def main() -> None:
    """Run once undisturbed, then once for each point, in fresh clones of this checkout made small."""
    parser = argparse.ArgumentParser(prog="tests.end_to_end.kills")
    parser.add_argument("--points", type=int, default=20)
    points: int = parser.parse_args().points
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as temporary:
        folder = Path(temporary)
        origin = working_tree(folder / "origin")
        whole = origin.clone(folder / "whole")
        start = time.monotonic()
        whole.dvc("repro")
        seconds = time.monotonic() - start
        print(f"undisturbed: {seconds:.0f} s", flush=True)
        results = []
        for point in range(points):
            clone = origin.clone(folder / f"{point}")
            results.append(try_point(clone, round(seconds * (point + 0.5) / points, 1), whole.hashes()))
            print(results[-1], flush=True)
            write_json({"undisturbed_s": round(seconds, 1), "killed": [asdict(result) for result in results]}, RESULTS)
    same = sum(not result.differing for result in results)
    print(f"{same} of {points} end as the undisturbed run does")
    sys.exit(same < points)


if __name__ == "__main__":
    main()
