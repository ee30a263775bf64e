"""Repair dvc.lock after DVC was killed while writing it: python -m transfer repair

DVC 3.67 writes the file in place (dvc/utils/serialize/_common.py). SIGKILL or a loss of power then leaves a part of it,
or nothing, and every command of DVC fails until it is repaired. A record may come from anywhere: DVC
checks it against the files before it relies on it.
"""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import dumps_yaml, parse_yaml

from transfer.core.errors import UserError
from transfer.core.files import write_text
from transfer.core.last_stage import COPY, ENDED, LOCK

RECORD = re.compile(r"^  [^\s-].*:$", re.MULTILINE)
"""The first line of a stage's record."""


def _records(text: str) -> dict[str, Any] | None:
    """Return what the text of a lock file records of each stage; None where it cannot be read."""
    try:
        records: dict[str, Any] = Lockfile.validate(parse_yaml(text, LOCK)).get("stages", {})
    except DvcException:
        return None
    return records


def _text(path: Path) -> str:
    """Return the text of a file, "" where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _committed() -> str:
    """Return the committed lock file, "" where there is none."""
    command = ["git", "show", f"HEAD:./{LOCK}"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def _is_cut(text: str, committed: str) -> bool:
    """Say whether a lock file ends too soon, possibly between two records of what it had when the last stage began."""
    records = _records(text)
    if records is None or not text.endswith("\n"):
        return True
    return text != committed and not (_records(_text(COPY)) or {}).keys() <= records.keys()


def _whole_records(text: str) -> dict[str, Any]:
    """Return the records in what is left of a lock file, without the last one, which may be cut."""
    begins = [found.start() for found in RECORD.finditer(text)]
    return (_records(text[: begins[-1]]) or {}) if len(begins) > 1 else {}


def _changed_ns(paths: Iterable[str]) -> int:
    """Return when the last change of files, or of what is in folders, was, in nanoseconds of the system's clock."""
    below = [Path(path) for path in paths]
    for folder, folders, files in (walked for path in list(below) for walked in os.walk(path, followlinks=True)):
        below += [Path(folder, name) for name in folders + files]
    return max(path.stat().st_ctime_ns for path in below)


def _record_last(cut: os.stat_result) -> None:
    """Record the stage that had just ended, if it is not, and if what it read and wrote is what there is now."""
    if not (COPY.exists() and ENDED.exists() and ENDED.stat().st_mtime_ns < cut.st_mtime_ns):
        return
    name = ENDED.read_text(encoding="utf-8")
    with Repo() as repo:
        stage = next(stage for stage in repo.index.stages if stage.addressing == name)
        read = _changed_ns([*(dep.fs_path for dep in stage.deps), stage.dvcfile.path])
        wrote = _changed_ns(out.fs_path for out in stage.outs)
        if read < COPY.stat().st_ctime_ns and wrote <= cut.st_mtime_ns:
            repo.commit(name, force=True)


def repair() -> None:
    """Repair dvc.lock if it is truncated, and say so.

    The records are git's; over them, those of the copy that the last stage made when it began; and over them, those
    that are whole in what is left.

    Raises:
        UserError: dvc.yaml is damaged, or another DVC is at work.
    """
    text, committed = _text(LOCK), _committed()
    if not LOCK.exists() or not _is_cut(text, committed):
        return
    cut = LOCK.stat()
    records = {**(_records(committed) or {}), **(_records(_text(COPY)) or {}), **_whole_records(text)}
    write_text(dumps_yaml({"schema": "2.0", "stages": records}), LOCK)
    try:
        with contextlib.suppress(FileNotFoundError, StopIteration):  # it is no more what it was: it will run again
            _record_last(cut)
    except DvcException as error:
        raise UserError(f"{LOCK}: {error}") from error
    print(f"{LOCK}: DVC was killed while writing it; it has been repaired")
