"""What a stage notes beside DVC's own files, for the case that DVC is killed while it writes dvc.lock.

DVC writes dvc.lock in place when a stage has ended, and reads it not again until the next run. While a stage runs, the
file is whole: then it is copied. `transfer.lock_file` mends dvc.lock with that copy.
"""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path("dvc.lock")
COPY = Path(".dvc/tmp/dvc.lock")
"""What dvc.lock was when the last stage began, empty if there was none. Its time of change says when that was."""
ENDED = Path(".dvc/tmp/last-stage")
"""The name of the last stage, once it has ended without an error."""


def _begin() -> None:
    ENDED.unlink(missing_ok=True)
    part = COPY.with_suffix(".part")
    part.write_bytes(LOCK.read_bytes() if LOCK.exists() else b"")
    part.replace(COPY)


@contextmanager
def noted() -> Iterator[None]:
    """Note the beginning and the end of a stage that DVC runs; of any other process, nothing.

    Where that cannot be written, it is left out: a stage does not fail for it.
    """
    stage = os.environ.pop("DVC_STAGE", None)  # what the stage starts in its turn is none
    if stage:
        with contextlib.suppress(OSError):
            _begin()
    yield
    if stage:
        with contextlib.suppress(OSError):
            ENDED.write_text(stage, encoding="utf-8")
