"""Mistakes that a user can put right, and how a stage reports them."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user gave is wrong.

    The message is all that the user sees. It says what was expected, what was received and where
    (file, key, class).
    """


def run(main: Callable[[], None]) -> None:
    """Run a stage: a `UserError` becomes one line on standard error and exit status 1, without a traceback."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
