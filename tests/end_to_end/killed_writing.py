"""DVC, killed while it writes dvc.lock: python killed_writing.py TIME PART ARGUMENTS

At that time (1 is the first), when that part of the file's text has been written, by SIGKILL. DVC is the real one; what
it would write at once is written in two steps.
"""

import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

from dvc.cli import main
from dvc.utils.serialize import _common

TIME, PART = int(sys.argv[1]), float(sys.argv[2])
_whole = _common._dump_data
_times = 0


def _dump_data(path: Any, data: Any, dumper: Any, fs: Any = None, **arguments: Any) -> None:
    global _times  # noqa: PLW0603
    if Path(path).name == "dvc.lock":
        _times += 1
        if _times == TIME:
            stream = io.StringIO()
            dumper(data, stream)
            text = stream.getvalue()
            with fs.open(path, "w+", encoding="utf-8") as file:
                file.write(text[: int(PART * len(text))])
            os.killpg(0, signal.SIGKILL)
    _whole(path, data, dumper, fs=fs, **arguments)


_common._dump_data = _dump_data
sys.exit(main(sys.argv[3:]))
