"""The command serve as a process of its own, on loopback."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT


@contextmanager
def serving(model: Path, *arguments: str) -> Iterator[str]:
    """Start it on a free port, give its address without the last slash, and see that it ends as it should."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "transfer", "serve", "--model", str(model)]
    process = subprocess.Popen(
        [*command, "--port", "0", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.endswith("/ answers until Ctrl-C\n"), (line, process.poll())
        yield line.partition("/ answers")[0]
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert errors.splitlines()[-1] == "error: terminated"
    assert "Traceback" not in errors
