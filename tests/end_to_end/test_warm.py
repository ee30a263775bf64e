"""Tests of warm.py: to the one who starts it, a stage is the process that `python -m` would be."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.clones import Clone

STAGE = """
import json, os, signal, sys, time

seen = [__name__, sys.argv[1:], os.getcwd(), os.environ["GIVEN"], "tensorflow" in sys.modules, os.getpid()]
print(json.dumps(seen), flush=True)
print("said", file=sys.stderr)
if sys.argv[1] == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    print("ready", flush=True)
    time.sleep(60)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def clone(warm: dict[str, str], tmp_path: Path) -> Clone:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/probe.py").write_text(STAGE, encoding="utf-8")
    return Clone(tmp_path, {**warm, "GIVEN": "ä"})


@pytest.mark.parametrize(("end", "status"), [("0", 0), ("7", 7), ("killed", -signal.SIGKILL)])
def test_a_stage_has_arguments_folder_variables_and_status(clone: Clone, end: str, status: int) -> None:
    ran = clone.run("python", "-m", "stages.probe", end, "two words", status=status)
    first, *rest = ran.output.splitlines()
    assert json.loads(first)[:-1] == ["__main__", [end, "two words"], str(clone.folder), "ä", True]
    assert rest == ["said"]


def _started(clone: Clone) -> tuple["subprocess.Popen[str]", int]:
    """Start a stage that waits, and return who asked for it and its own process."""
    process = subprocess.Popen(
        ["python", "-m", "stages.probe", "wait"], cwd=clone.folder, env=clone.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    stage: int = json.loads(process.stdout.readline())[-1]
    assert process.stdout.readline() == "ready\n"
    return process, stage


def test_a_signal_is_passed_on(clone: Clone) -> None:
    process, _ = _started(clone)
    with process:
        process.terminate()
        assert process.wait(20) == 5


def test_a_stage_that_nobody_waits_for_any_more_ends(clone: Clone) -> None:
    process, stage = _started(clone)
    with process:
        process.kill()
        deadline = time.monotonic() + 20
        while psutil.pid_exists(stage) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not psutil.pid_exists(stage)


def test_everything_else_is_the_real_interpreter(clone: Clone) -> None:
    told = "import sys; print(sys.executable, 'tensorflow' in sys.modules, sys.argv)"
    assert clone.run("python", "-c", told, "-m", "stages.probe").output == (
        f"{sys.executable} False ['-c', '-m', 'stages.probe']\n"
    )
    assert clone.variables["PATH"].split(os.pathsep)[1] == str(Path(sys.executable).parent)
