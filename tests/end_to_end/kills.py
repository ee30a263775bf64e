"""Kill `dvc repro` in every stage, and see what comes out in the end.

Run as python -m tests.end_to_end.kills [--default]. The whole process group is killed with SIGKILL: DVC, the stage and
what that started. Results: killed.json, or with --default killed-default.json, in the folder benchmarks/results.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.clones import SCRATCH
from tests.conftest import ROOT
from tests.end_to_end.clones import Clone, working_tree
from transfer.core.files import read_json, write_json

RESULTS = ROOT / "benchmarks/results/killed.json"
DEFAULT_RESULTS = ROOT / "benchmarks/results/killed-default.json"
SMALL_PARTS = (0.25, 0.5, 0.75, 0.95)
"""Of each stage that are done when it is killed, in a clone for each."""
DEFAULT_PARTS = (0.25, 0.6)
"""Likewise, one after the other in one clone."""
START_S = 4.0  # until a stage has imported TensorFlow
STARTS = "Running stage '"


@dataclass(frozen=True)
class Killed:
    """A run that was killed so many seconds after a stage began, unless that had ended before."""

    stage: str
    after_s: float
    ended: bool


def mend(clone: Clone) -> None:
    """Mend dvc.lock, in case that the kill before came while DVC wrote it."""
    clone.run("python", "-m", "transfer", "repair")


def start(clone: Clone) -> "subprocess.Popen[str]":
    """Start `dvc repro` in a clone as `make run` does, with dvc.lock repaired, as a process group of its own."""
    mend(clone)
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


def kill(clone: Clone, stage: str, after_s: float, before: Collection[str] = (), written: str = "dvc.yaml") -> Killed:
    """Start `dvc repro`, and kill it and all that it started so many seconds after a stage began and a file was there.

    If the stage has ended in an earlier run, it is killed when another one begins that is none of those `before` it.
    """
    with start(clone) as process:
        assert process.stdout is not None
        begun = (line.split("'")[1] for line in process.stdout if line.startswith(STARTS))
        ended = next((name for name in begun if name not in before), "") != stage
        if not ended:
            while not (clone.folder / written).exists() and process.poll() is None:
                time.sleep(0.01)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after_s)
        ended = ended or process.poll() is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return Killed(stage, round(after_s, 1), ended)


def chain(clone: Clone, seconds: dict[str, float], parts: Sequence[float]) -> Iterator[Killed]:
    """Kill one run after the other, in each stage when those parts of it are done; then let one come to its end.

    Each run has to make good what the one before left.
    """
    stages = list(seconds)
    for number, stage in enumerate(stages):
        for part in parts:
            yield kill(clone, stage, part * seconds[stage], stages[:number])
            print(stage, part, flush=True)
    mend(clone)
    clone.dvc("repro")


def compared(
    clone: Clone, seconds: dict[str, float], parts: Sequence[float], expected: dict[str, str]
) -> dict[str, Any]:
    """Run a chain, and say which outputs have other hashes than expected."""
    kills = [asdict(killed) for killed in chain(clone, seconds, parts)]
    received = clone.hashes()
    differing = sorted(path for path in expected if received.get(path) != expected[path])
    return {"parts": parts, "kills": kills, "outputs": len(expected), "differing": differing}


def small(folder: Path) -> Iterator[dict[str, Any]]:
    """Run once undisturbed, then in fresh clones of this checkout, made small, with every stage killed."""
    origin = working_tree(folder / "origin")
    whole = origin.clone(folder / "whole")
    seconds = stage_seconds(whole)
    expected = whole.hashes()
    for part in SMALL_PARTS:
        yield compared(origin.clone(folder / f"{part}"), seconds, [part], expected)


def default(folder: Path) -> Iterator[dict[str, Any]]:
    """Run the committed default pipeline in a fresh clone, with every stage killed twice.

    What is expected is in dvc.lock, and how long a stage takes in metrics/cost: both were committed with it.
    """
    clone = Clone(ROOT).clone(folder / "default")
    expected, seconds = clone.hashes(), default_seconds(clone)
    (clone.folder / "dvc.lock").unlink()
    yield compared(clone, seconds, DEFAULT_PARTS, expected)


def default_seconds(clone: Clone) -> dict[str, float]:
    """Return about how long each stage of a clone takes, in the order in which they run."""
    files = [*(clone.folder / "metrics/cost").glob("*.json"), clone.folder / "metrics/export-cost.json"]
    costs = {path.stem: read_json(path)["seconds"] for path in files}
    stages = [line.split()[0] for line in clone.dvc("stage", "list").output.splitlines()]
    named = {stage: stage.replace("_baseline@", "-").replace("@", "-").replace("_", "-") for stage in stages}
    named |= {"finetune": "train-finetuned", "export": "export-cost"}
    return {stage: START_S + costs.get(name, 0.0) for stage, name in named.items()}


def main() -> None:
    """Kill, write the results, and fail if an output differs."""
    parser = argparse.ArgumentParser(prog="tests.end_to_end.kills")
    parser.add_argument("--default", action="store_true", help="the default pipeline, and not a small one; an hour")
    given = parser.parse_args()
    run, results = (default, DEFAULT_RESULTS) if given.default else (small, RESULTS)
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as temporary:
        runs = []
        for found in run(Path(temporary)):
            runs.append(found)
            print(found, flush=True)
            write_json({"runs": runs}, results)
    sys.exit(any(found["differing"] for found in runs))


if __name__ == "__main__":
    main()
