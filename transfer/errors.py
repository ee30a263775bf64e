"""Mistakes that a user can put right, and how a stage reports them."""

import sys
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """Something the user gave is wrong.

    The message is all that the user sees. It says what was expected, what was received and where
    (file, key, class).
    """


def run(main: Callable[[], None]) -> None:
    """Run a stage: what the user or the system got wrong becomes one line on standard error and exit status 1."""
    try:
        main()
    except UserError as error:
        message = str(error)
    except OSError as error:  # no such file, no permission, no space left: the system says it best
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        return
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def argument(*allowed: str) -> str:
    """Return the argument that a stage was started with.

    Raises:
        UserError: it is none of those allowed, or there is none, or more than one.
    """
    given = sys.argv[1:]
    if len(given) != 1 or given[0] not in allowed:
        raise UserError(f"{Path(sys.argv[0]).name}: expected one argument of {', '.join(allowed)}, received {given}")
    return given[0]
