"""Tests of transfer/errors.py."""

import pytest

from transfer.errors import UserError, run


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
