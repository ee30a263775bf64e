"""What workers do in tests. Imports little, as each worker imports it."""

import os
import signal
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.core.errors import UserError
from transfer.workers.work import Progress

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Squares:
    """Squares numbers and says in which process. Number `fatal` kills its worker `deaths` times, `wrong` is refused."""

    fatal: int = -1
    deaths: int = 0
    wrong: int = -1
    seconds: float = 0.0

    def __call__(self, numbers: Iterable[int], progress: Progress) -> list[tuple[int, int]]:
        found = []
        for number in numbers:
            Path(f"tried-{number}-{os.getpid()}").touch()
            time.sleep(self.seconds)
            if number == self.fatal and len(list(Path().glob(f"tried-{number}-*"))) <= self.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == self.wrong:
                raise UserError(f"{number}: expected another number")
            found.append((number**2, os.getpid()))
        return found


def environment(numbers: Iterable[int], progress: Progress) -> dict[str, str]:
    """Return the environment of the worker."""
    return dict(os.environ)


def leave_files(numbers: Iterable[int], progress: Progress) -> tuple[str, list[int]]:
    """Leave a file in the temporary folder, the home and the working directory, and count such files in each."""
    time.sleep(0.1)  # so that each worker has some of the tasks
    folders = [Path(tempfile.gettempdir()), Path.home(), Path()]
    for folder in folders:
        (folder / f"left-by-{os.getpid()}").touch()
    return os.fspath(Path.home()), [len(list(folder.glob("left-by-*"))) for folder in folders]


@dataclass(frozen=True)
class SmallTrunk:
    """A convolution."""

    def build(self) -> "keras.Model":
        import keras

        entry = keras.Input((8, 8, 3))
        convolution = keras.layers.Conv2D(2, 3, padding="same", kernel_initializer=keras.initializers.HeNormal(0))
        return keras.Model(entry, convolution(entry))
