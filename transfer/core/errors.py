"""Errors that a user can fix, and how a stage reports them and signals."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from transfer.core.last_stage import noted

SIGNALLED = 128
"""Exit status of a process that a signal ended, less the signal's number, as in shells."""


class UserError(Exception):
    """Something that the user gave is wrong.

    The message is all that the user sees: the place (file, key, class), the problem, and how to fix it.
    """


class _TerminatedError(BaseException):
    """SIGTERM was received."""


def one_line(error: BaseException, most: int | None = None) -> str:
    """Return the message of an error in one line, or its class where it has none; cut after `most` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if most is None or len(text) <= most else f"{text[:most]}…"


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _TerminatedError


def _open_standard_streams() -> None:
    """Open what the shell has closed (`>&-`), or the next opened file would receive what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (for as long as the process lives)


def run(main: Callable[[], None]) -> None:
    """Run a stage: an error of the user or the system becomes one line on standard error and exit status 1.

    SIGINT and SIGTERM end it with a line, too, after cleaning up, and with the exit statuses of shells: 130 and 143.
    """
    _open_standard_streams()
    status, before = 1, signal.signal(signal.SIGTERM, _terminate)
    try:
        with noted():
            main()
    except UserError as error:
        message = str(error)
    except OSError as error:  # no such file, no permission, no space left: the system says it best
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except MemoryError:
        message = "out of memory; use a smaller image_size or batch_size, or fewer images"
    except KeyboardInterrupt:
        message, status = "interrupted", SIGNALLED + signal.SIGINT
    except _TerminatedError:
        message, status = "terminated", SIGNALLED + signal.SIGTERM
    else:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


def argument(*allowed: str) -> str:
    """Return the argument that a stage was started with.

    Raises:
        UserError: it is not allowed, or there is none, or more than one.
    """
    given = sys.argv[1:]
    if len(given) != 1 or given[0] not in allowed:
        raise UserError(f"{Path(sys.argv[0]).name}: expected one argument of {', '.join(allowed)}, received {given}")
    return given[0]
