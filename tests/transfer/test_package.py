"""Tests of transfer/__init__.py: what libraries may do that are imported after it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_openvino_reports_nothing_and_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    """In CI it would not by itself; elsewhere it does."""
    code = "import transfer, openvino; assert 'stub' in type(openvino.tools.ovc.telemetry).__module__"
    variables = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    variables |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=variables, check=True)
    assert not (tmp_path / "intel").exists()
