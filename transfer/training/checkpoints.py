"""Training that was cut off goes on after its last epoch, and ends with the same bits as if it had not been.

A checkpoint is a file of its own in a folder that is no output of any stage: DVC removes a stage's outputs before it
runs the stage again. It is of use only to a training on the same inputs, with the same code and libraries, and says so.
"""

import hashlib
import json
import sys
import time
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.core.errors import one_line
from transfer.core.files import sha256_of, written_whole

FOLDER = Path(".checkpoints")
EVERY_S = 10.0
"""Seconds between two checkpoints at the least: short epochs are not worth one each."""

LIBRARIES = ("keras", "numpy", "tensorflow")
ROOT = Path(__file__).parents[2]
SOURCES = (
    *(f"stages/{name}.py" for name in ("finetune", "train_baseline", "train_head")),
    *(f"transfer/{name}" for name in ("__init__.py", "core", "networks", "records", "training")),
)
"""The code that training runs, as dvc.yaml declares it for the three stages."""


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands: what can be written as JSON, and arrays in a fixed order under a name."""

    facts: dict[str, Any]
    arrays: dict[str, list[NDArray[Any]]]


def _files(inputs: Iterable[Path]) -> list[Path]:
    """Return the files that there are, those of a folder one by one, in a fixed order."""
    found = []
    for path in inputs:
        found += sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [file for file in found if file.exists()]


def fingerprint(inputs: Sequence[Path]) -> str:
    """Return the SHA-256 of the content of files and folders, of training's code and of the libraries' versions."""
    digest = hashlib.sha256(" ".join([sys.version, *(version(name) for name in LIBRARIES)]).encode())
    code = _files(ROOT / source for source in SOURCES)
    for file in [*_files(inputs), *(file for file in code if file.suffix == ".py")]:
        digest.update(f"\0{file}\0{sha256_of(file)}".encode())
    return digest.hexdigest()


class Checkpoint:
    """The file that keeps the progress of one training.

    Args:
        name: of what is trained.
        inputs: files and folders that decide what comes out; those that there are not do not count.
    """

    def __init__(self, name: str, inputs: Sequence[Path]) -> None:
        self.path = FOLDER / f"{name}.npz"
        self._identity = fingerprint(inputs)
        self._written = time.monotonic()

    def due(self) -> bool:
        """Say whether the last checkpoint is old enough for another one."""
        return time.monotonic() - self._written >= EVERY_S

    def write(self, progress: TrainingState) -> None:
        """Replace the file, in one step: after a crash there is the old one or the new one."""
        counts = {name: len(group) for name, group in progress.arrays.items() if group}
        text = json.dumps({"identity": self._identity, "counts": counts, **progress.facts})
        arrays = {f"{name}/{i:05}": array for name, group in progress.arrays.items() for i, array in enumerate(group)}
        with written_whole(self.path) as part:
            np.savez(part, allow_pickle=False, facts=np.frombuffer(text.encode(), np.uint8), **arrays)
        self._written = time.monotonic()

    def read(self) -> TrainingState | None:
        """Return what was written last, or None where there is nothing, or nothing that fits; the latter is said."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                facts = json.loads(stored["facts"].tobytes())
                counts = facts.pop("counts")
                if facts.pop("identity") != self._identity:
                    print(f"       {self.path} is outdated: training restarts")
                    return None
                arrays: dict[str, list[NDArray[Any]]] = {}
                for key in sorted(set(stored.files) - {"facts"}):
                    arrays.setdefault(key.split("/")[0], []).append(stored[key])
                if counts != {name: len(group) for name, group in arrays.items()}:
                    raise ValueError("arrays are missing")  # which a list of the members may hide
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            print(f"       {self.path} is damaged: training restarts ({one_line(error)})", file=sys.stderr)
            return None
        return TrainingState(facts, arrays)

    def remove(self) -> None:
        """Remove the file once it has served, and the folder with the last one."""
        self.path.unlink(missing_ok=True)
        if self.path.parent.exists() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()
