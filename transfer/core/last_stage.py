"""What a stage notes beside DVC's own files, in case DVC is killed while writing dvc.lock.

DVC writes dvc.lock in place when a stage has ended. While a stage runs, the file is whole: so it is copied then, and
`transfer.lock_file` repairs dvc.lock with that copy.
"""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path("dvc.lock")
COPY = Path(".dvc/tmp/dvc.lock")
"""What dvc.lock was when the last stage began, empty if there was none. Its change time is when that was."""
ENDED = Path(".dvc/tmp/last-stage")
"""The name of the last stage, once it has ended without an error."""


def _begin() -> None:
    ENDED.unlink(missing_ok=True)
    part = COPY.with_suffix(".part")
    part.write_bytes(LOCK.read_bytes() if LOCK.exists() else b"")
    part.replace(COPY)


@contextmanager
def noted() -> Iterator[None]:
    """Note the beginning and the end of a stage that DVC runs, and nothing for any other process.

    A stage does not fail if this cannot be written.
    """
    stage = os.environ.pop("DVC_STAGE", None)  # processes that the stage starts are not stages
    if stage:
        with contextlib.suppress(OSError):
            _begin()
    yield
    if stage:
        with contextlib.suppress(OSError):
            ENDED.write_text(stage, encoding="utf-8")
