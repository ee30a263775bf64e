"""Prepare, run and use the pipeline: python -m transfer COMMAND (see `command_line`)"""

import os
import signal
import sys

from transfer.command_line import make_parser
from transfer.core import errors


def main() -> None:
    """Read the command line and do what it says."""
    given = make_parser()[0].parse_args()
    try:
        status = given.run(given)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
        status = errors.SIGNALLED + signal.SIGPIPE
    sys.exit(status)


if __name__ == "__main__":
    errors.run(main)
