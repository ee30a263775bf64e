"""Keep from the terminal what TensorFlow's libraries print about themselves while it is imported.

They write it to standard error before any of their settings counts, TF_CPP_MIN_LOG_LEVEL included. Whoever sets that to
0 wants to see it: then nothing is held back (see `transfer/__init__.py`).
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

NAME = "tensorflow"
NOTICE = re.compile(rb"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} [\d:.]+ +\d+ \S+:\d+\] ")
"""How a line of theirs begins that is information or a warning: as absl logs it."""


@contextmanager
def without_notices() -> Iterator[None]:
    """Hold back what is written to standard error, also by C++, and pass on what is no notice; all, after an error."""
    import tempfile  # 15 ms, of which a command that needs no TensorFlow has no use

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
            terminal.writelines(line for line in held if failed or not NOTICE.match(line))


def _flush() -> None:
    if sys.stderr is not None:  # as where the shell closed it
        sys.stderr.flush()


class QuietImport:
    """A finder for `sys.meta_path`. Whoever only asks whether TensorFlow is installed may ask it, too, before."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find TensorFlow, to be imported without notices; leave all else to others."""
        if name != NAME:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Quiet(spec.loader)  # type: ignore[assignment]
        return spec


class _Quiet:
    """A loader that runs another one without notices."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        with without_notices():
            self._loader.exec_module(module)
