"""Prepare, run and use the pipeline: python -m transfer COMMAND (see `command_line`)"""

import os
import signal
import sys

from transfer.command_line import make_parser
from transfer.core import errors


def main() -> None:
    """Parse the command line and run the command."""
    given = make_parser()[0].parse_args()
    try:
        status = given.run(given) or 0
    except BrokenPipeError:  # the reader of the output closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # which Python flushes at exit
        status = errors.SIGNALLED + signal.SIGPIPE
    sys.exit(status)


if __name__ == "__main__":
    errors.run(main)
