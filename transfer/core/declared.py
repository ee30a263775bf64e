"""What a stage reads and writes, declared where a test can see it.

A stage names each of its inputs and outputs once, at its top, as `NAME = reads("…")` or `NAME = writes("…")`.
tests/test_pipeline.py collects these calls and compares them with dvc.yaml. A stage that runs once for each of
several items writes `{item}` into the path.
"""

from pathlib import Path


def reads(path: str) -> Path:
    """Declare a file or folder, relative to the project's root, that the stage reads."""
    return Path(path)


def writes(path: str) -> Path:
    """Declare a file or folder, relative to the project's root, that the stage writes."""
    return Path(path)


def fill(path: Path, item: str) -> Path:
    """Put the name of the item into a declared path."""
    return Path(str(path).format(item=item))
