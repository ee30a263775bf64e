"""Tests of transfer/core/errors.py."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from transfer.core.errors import UserError, argument, run


def test_a_users_mistake_is_one_line_and_exit_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise UserError("params.yaml: lr: expected a number, received 'fast'")

    with pytest.raises(SystemExit) as exit_status:
        run(main)
    assert exit_status.value.code == 1
    assert capsys.readouterr().err == "error: params.yaml: lr: expected a number, received 'fast'\n"


def test_our_own_mistake_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_what_the_system_refuses_is_one_line_with_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def main() -> None:
        (tmp_path / "missing" / "file").write_text("text", encoding="utf-8")

    with pytest.raises(SystemExit):
        run(main)
    assert capsys.readouterr().err == f"error: {tmp_path}/missing/file: No such file or directory\n"


def _raise(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


TERMINATED = """
import os, signal
from transfer.core.errors import run

before = signal.getsignal(signal.SIGTERM)
try:
    run(lambda: os.kill(os.getpid(), signal.SIGTERM))
finally:
    assert signal.getsignal(signal.SIGTERM) is before
"""


@pytest.mark.parametrize(
    ("main", "status", "line"),
    [
        (_raise(MemoryError()), 1, "error: out of memory; use a smaller image_size"),
        (_raise(KeyboardInterrupt()), 130, "error: interrupted\n"),
    ],
)
def test_an_end_from_outside_is_one_line(
    main: Callable[[], None], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_status:
        run(main)
    assert exit_status.value.code == status
    assert capsys.readouterr().err.startswith(line)


def test_sigterm_is_one_line() -> None:
    """In a process of its own: in one where several of OpenVINO's cores came and went, a signal is a crash."""
    done = subprocess.run([sys.executable, "-c", TERMINATED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, "error: terminated\n")


@pytest.mark.parametrize("given", [[], ["hand"], ["head", "finetune"]])
def test_a_wrong_argument_is_an_error_that_lists_the_right_ones(
    given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["stages/embed.py", *given])
    with pytest.raises(UserError, match=r"embed.py: expected one argument of head, finetune, received \["):
        argument("head", "finetune")
