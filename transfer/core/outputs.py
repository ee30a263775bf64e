"""What the pipeline writes: no dataset may lie there, as DVC and the stages overwrite it."""

import os
import re
import shutil
from pathlib import Path

from transfer.core.errors import UserError

IN_DATA = ("activations", "duplicates.csv", "quarantine.csv", "raw", "records", "splits.csv")
OUTPUTS = (*(Path("data", name) for name in IN_DATA), *map(Path, ("metrics", "models", "plots", ".checkpoints")))
"""Relative to the project's root. tests/test_pipeline.py compares them with dvc.yaml."""


def _ways(path: Path) -> set[Path]:
    """Return a path as it is written and with links resolved: a link in an output would be removed with it."""
    return {Path(os.path.abspath(path)), path.resolve()}  # noqa: PTH100 (which follows no links)


def require_apart(place: Path, key: str) -> None:
    """Check that a dataset neither is an output of the pipeline, nor lies in one, nor contains one.

    Args:
        place: the dataset, relative to the project's root or absolute.
        key: what names it, such as "params.yaml: dataset".

    Raises:
        UserError: it does, so that a stage would remove it.
    """
    ours = _ways(place)
    for output in OUTPUTS:
        pairs = [(own, theirs) for own in ours for theirs in _ways(output)]
        if any(own == theirs for own, theirs in pairs):
            where, what = "is", "the dataset elsewhere"
        elif any(own.is_relative_to(theirs) for own, theirs in pairs):
            where, what = "lies in", "the dataset elsewhere"
        elif any(theirs.is_relative_to(own) for own, theirs in pairs):
            where, what = "contains", "the images to a folder of their own"
        else:
            continue
        raise UserError(
            f"{key}: {str(place)!r} {where} {output}, which the pipeline overwrites; move {what}, for example to "
            "data/mine, and give its path"
        )


def clear(folder: Path, made: str) -> None:
    """Empty a folder that a stage writes, if it holds nothing else.

    Args:
        folder: the folder; there may be none.
        made: regular expression of the paths below it, with /, that the stage writes.

    Raises:
        UserError: it holds another file. Nothing is removed then.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (path.is_symlink() or not path.is_dir()) and not re.fullmatch(made, name):
            raise UserError(f"{folder}: holds {name}, which this stage did not write; move it elsewhere")
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
