"""Tests of transfer/__init__.py: what libraries may do that are imported after it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def test_openvino_reports_nothing_and_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    """In CI it would not by itself; elsewhere it does."""
    code = "import transfer, openvino; assert 'stub' in type(openvino.tools.ovc.telemetry).__module__"
    variables = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    variables |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=variables, check=True)
    assert not (tmp_path / "intel").exists()


@pytest.mark.parametrize("module", ["transfer predict x.png", "transfer check", "stages.train_head"])
def test_an_interrupt_while_modules_are_imported_is_a_line_and_no_traceback(module: str, tmp_path: Path) -> None:
    """numpy stands for whatever is being imported when the user presses Ctrl-C."""
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n", encoding="utf-8")
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-P", "-m", *module.split()]
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == "error: interrupted\n"
    assert done.returncode in (-signal.SIGINT, 130)


def test_nothing_is_collected_at_the_end_of_a_process() -> None:
    code = "import gc; gc.disable(); import transfer\nclass Cycle:\n    __del__ = lambda self: print('collected')\n"
    code += "one = Cycle(); one.itself = one; del one"
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == ""
