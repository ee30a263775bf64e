"""Tests of transfer/core/quiet.py, with another package that is called tensorflow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

NOISE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795875835.372247   20565 port.cc:153] oneDNN custom operations are on.",
    "W0000 00:00:1795875835.372247   20565 cudart_stub.cc:31] Could not find cuda drivers on your machine.",
)
OURS = ("a deprecation that matters", "E0000 00:00:1795875835.372247   20565 gpu.cc:1] an error")


def _import(folder: Path, ends: str, *before: str) -> subprocess.CompletedProcess[str]:
    """Import a package in a process of its own that writes all these lines to its standard error, as C++ does."""
    written = "".join(f"{line}\n" for line in (*NOISE, *OURS))
    (folder / "tensorflow.py").write_text(f"import os\nos.write(2, {written.encode()!r})\n{ends}", encoding="utf-8")
    code = "\n".join(
        ["import transfer", *before, "import tensorflow", "print(tensorflow.__name__, tensorflow.__file__)"]
    )
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("before", ["", "import importlib.util; importlib.util.find_spec('tensorflow')"])
def test_notices_are_held_back_and_all_else_is_passed_on(tmp_path: Path, before: str) -> None:
    done = _import(tmp_path, "", before)
    assert done.stderr.splitlines() == list(OURS)
    assert done.stdout == f"tensorflow {tmp_path / 'tensorflow.py'}\n"


def test_notices_are_logged_where_dvc_keeps_its_scratch_and_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    log = tmp_path / ".dvc/tmp/libraries.log"
    log.parent.mkdir(parents=True)
    for _ in range(2):
        _import(tmp_path, "")
    assert log.read_text(encoding="utf-8").splitlines() == [*NOISE, *NOISE]
    log.write_bytes(b"x" * 1_000_001)
    _import(tmp_path, "")
    assert log.read_text(encoding="utf-8").splitlines() == list(NOISE)


def test_after_an_error_all_is_shown(tmp_path: Path) -> None:
    done = _import(tmp_path, "raise ImportError('no such library')")
    assert done.stderr.splitlines()[:5] == [*NOISE, *OURS]
    assert done.stderr.splitlines()[-1] == "ImportError: no such library"


def test_who_asks_for_the_notices_sees_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert _import(tmp_path, "").stderr.splitlines() == [*NOISE, *OURS]


def test_what_holds_them_back_costs_a_start_nothing() -> None:
    code = "import sys, transfer; print('tempfile' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("before", ["import os; os.close(2)", "import sys; sys.stderr = None"])
def test_without_a_terminal_it_is_imported_all_the_same(tmp_path: Path, before: str) -> None:
    assert _import(tmp_path, "", before).stdout.startswith("tensorflow ")
