"""Send what TensorFlow's libraries print about themselves while it is imported to a log, and not to the terminal.

They write it to standard error before any of their settings takes effect. TF_CPP_MIN_LOG_LEVEL=0 shows it (see
`transfer/__init__.py`).
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

NAME = "tensorflow"
NOTICE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} [\d:.]+ +\d+ \S+:\d+\] |INFO: Created TensorFlow"
)
"""How the lines of information and warnings of absl and LiteRT begin."""


LOG = Path(".dvc/tmp/libraries.log")
"""Where the notices go, in a folder that DVC makes and git ignores; elsewhere they are dropped."""
MOST_BYTES = 1_000_000
"""Of the log; then it begins anew."""


@contextmanager
def without_notices() -> Iterator[None]:
    """Capture standard error, also from C++: log the notices and pass on all else; after an error, everything."""
    import tempfile  # takes 15 ms, needed with TensorFlow only

    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "wb") as terminal:
        _flush()
        os.dup2(held.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            _flush()
            os.dup2(terminal.fileno(), 2)
            held.seek(0)
            lines = [(line, NOTICE.match(line)) for line in held]
            terminal.writelines(line for line, notice in lines if failed or not notice)
            _log([line for line, notice in lines if notice])


def _log(notices: list[bytes]) -> None:
    with suppress(OSError), LOG.open("ab") as log:
        if log.tell() > MOST_BYTES:
            log.truncate(0)
        log.writelines(notices)


def _flush() -> None:
    if sys.stderr is not None:  # as where the shell closed it
        sys.stderr.flush()


class QuietImport:
    """A finder for `sys.meta_path`, which others may also ask whether TensorFlow is installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find TensorFlow, to import it without notices; leave other modules to other finders."""
        if name != NAME:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = without_notices()(spec.loader.exec_module)  # type: ignore[method-assign]
        return spec
