"""Use what the pipeline has made: python -m transfer predict|explain|serve …"""

import argparse
import os
import signal
import sys

from transfer.core import errors
from transfer.serving import explain, predict, serve

COMMANDS = (predict, explain, serve)
"""Modules with a command each, which their `add_command` describes."""


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m transfer", description="Use what the pipeline has made.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_command(commands)
    given = parser.parse_args()
    try:
        status = given.run(given)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
        status = errors.SIGNALLED + signal.SIGPIPE
    sys.exit(status)


if __name__ == "__main__":
    errors.run(main)
