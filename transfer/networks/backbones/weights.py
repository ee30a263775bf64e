"""Where the weights of a backbone come from: a Python package, a download, a file of the user."""

import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras

from transfer.core.errors import UserError, one_line
from transfer.core.files import require_space, written_whole
from transfer.networks.backbones.available import PackagedFile, downloaded_file

TIMEOUT = 20  # seconds without an answer after which a host counts as out of reach
OTHER_FILE = (OSError, ValueError, KeyError, RuntimeError, TypeError, UserWarning)  # what Keras raises of a wrong file
WEIGHT_BYTES = 4  # float32
MARGIN = 1 << 20  # bytes: what HDF5 adds, about 2 KiB for each layer
GIVEN = "`weights: {file: PATH, sha256: SHA-256 of the file}`"
Load = Callable[[keras.Model, Path], object]


@dataclass(frozen=True)
class Origin:
    """Where the weights of a model are from, and their licence, in words."""

    source: str
    licence: str


@dataclass(frozen=True)
class PackagedWeights(PackagedFile):
    """Weights that a pinned Python package carries."""

    licence: str
    load: Load

    def fill(self, model: keras.Model) -> Origin:
        """Fill the model that `Backbone.build` gives.

        Raises:
            UserError: the package is not installed, or its file is not the pinned one.
        """
        self.load(model, self.path())
        return Origin(f"{self.file} (package {self.package} {self.version}, SHA-256 as pinned)", self.licence)


@dataclass(frozen=True)
class DownloadedWeights:
    """The file that keras.applications downloads: its URL and its hash (MD5 or SHA-256, hexadecimal), if it has one."""

    url: str
    hash: str | None
    licence: str

    def fill(self, model: keras.Model) -> Origin:
        """Fill the model that `Backbone.build` gives. A file that Keras downloaded once is not downloaded again.

        Raises:
            UserError: the host does not answer, or the file is not the one that Keras expects.
        """
        place = downloaded_file(self.url)
        with downloading(self.url, f"{self.url} and put it at {place}, or give it as {GIVEN}"):
            path = keras.utils.get_file(place.name, self.url, cache_subdir="models", file_hash=self.hash)
        load_file(model, Path(path), keras.Model.load_weights)
        return Origin(self.url, self.licence)


@dataclass(frozen=True)
class HubWeights:
    """Weights that KerasHub fetches from Kaggle, by the name of its preset."""

    preset: str
    page: str
    licence: str
    load: Callable[[keras.Model], None]

    def fill(self, model: keras.Model) -> Origin:
        """Fill the model that `Backbone.build` gives.

        Raises:
            UserError: Kaggle does not answer, or refuses.
        """
        with downloading(
            f"KerasHub's preset {self.preset}", f"model.weights.h5 from {self.page} and give it as {GIVEN}"
        ):
            self.load(model)
        return Origin(f"KerasHub's preset {self.preset} ({self.page})", self.licence)


WeightsSource = PackagedWeights | DownloadedWeights | HubWeights


@contextmanager
def downloading(what: str, hint: str) -> Iterator[None]:
    """Have connections that set no time limit of their own give up after `TIMEOUT` seconds of silence.

    Raises:
        UserError: something went wrong; `hint` says how to bring the file by hand.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    except Exception as error:  # get_file raises Exception itself, and Kaggle's client those of several libraries
        raise UserError(
            f"weights: cannot download {what}: {one_line(error, 300)}; without a network, bring {hint} in params.yaml"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def load_file(model: keras.Model, path: Path, *loaders: Load, name: str = "") -> None:
    """Fill a model from a Keras file (.weights.h5, or .h5 by the order of layers) with the first loader that can.

    `name` is what messages call the model, if not by its own name.

    Raises:
        UserError: none can: the file is damaged, or of another network.
    """
    reasons = []
    for load in loaders:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of some layers that it did not fill
                load(model, path)
        except OTHER_FILE as error:
            reasons.append(one_line(error, 300))
        else:
            return
    raise UserError(f"{path}: damaged, or not the weights of {name or model.name}: {reasons[0]}")


def save_weights(model: keras.Model, path: Path) -> None:
    """Write the weights of a model for Keras.

    Raises:
        UserError: there is no room for them, and HDF5 bears no full disk.
    """
    with written_whole(path) as part:
        require_space(WEIGHT_BYTES * model.count_params() + MARGIN, path.parent)
        model.save_weights(part)
