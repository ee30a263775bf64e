"""The networks that are trained, described in JSON, whole from the pixels and cut in two."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import keras
from keras import layers

from transfer.core.cuts import Named, resolve_cut
from transfer.core.files import write_json
from transfer.core.params import Ann, Baseline, Cnn, Pooling
from transfer.core.strict import validate
from transfer.networks.backbones.registry import backbone_of, frozen_output
from transfer.networks.fused import Inference, layers_above

Kind = Literal["ann", "cnn", "transfer"]


@dataclass(frozen=True)
class Architecture:
    """All that it takes to build a network. Written beside its weights, so that they can be used without params.yaml.

    `inner_size` is the size that a baseline averages images down to, and `filters` are those of the CNN. `backbone` is
    that of a transfer model, `pooling` what stands behind it, and `units` and `dropout` are those of the fully
    connected layers.
    """

    kind: Kind
    image_size: int
    classes: tuple[str, ...]
    units: tuple[int, ...]
    dropout: float
    backbone: Named = ""
    pooling: Pooling = "average"
    inner_size: int = 0
    filters: tuple[int, ...] = ()

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(asdict(self), path)

    @classmethod
    def read(cls, path: Path) -> "Architecture":
        """Read what `write` wrote."""
        return validate(cls, json.loads(path.read_text(encoding="utf-8")), path)


@dataclass(frozen=True)
class Network:
    """A network as `architecture` describes it, whole and in its parts, which share their variables.

    `whole` takes float32 pixels (n, S, S, 3) in 0–1 and gives class probabilities (n, classes).
    `trunk` takes the same pixels and gives what `top` takes; `top` gives logits (n, classes) and is what is trained.
    `backbone` is the pre-trained part of a transfer model, on both sides of the cut, which is at the block `cut`.
    """

    architecture: Architecture
    whole: keras.Model
    trunk: keras.Model
    top: keras.Model
    backbone: keras.Model = None
    cut: str = "top"


def _dense_layers(x: keras.KerasTensor, architecture: Architecture) -> keras.KerasTensor:
    """Dropout before every dense layer; the last one gives logits, in float32 also where the rest has 16 bits."""
    for i, width in enumerate(architecture.units, 1):
        x = layers.Dropout(architecture.dropout, name=f"dropout_{i}")(x)
        x = layers.Dense(width, "relu", name=f"dense_{i}")(x)
    x = layers.Dropout(architecture.dropout, name="dropout_logits")(x)
    return layers.Dense(len(architecture.classes), name="logits", dtype="float32")(x)


def _baseline(architecture: Architecture, shape: tuple[int, ...]) -> keras.Model:
    """Convolutions and pooling, which an ANN has none of, and dense layers."""
    entry = x = keras.Input(shape)
    for filters in architecture.filters:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)  # settles within a few hundred steps, all that a small set has
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x) if architecture.kind == "cnn" else layers.Flatten()(x)
    return keras.Model(entry, _dense_layers(x, architecture))


def _head(architecture: Architecture, features: int) -> keras.Model:
    entry = keras.Input((features,))
    return keras.Model(entry, _dense_layers(entry, architecture), name="head")


def _probabilities(pixels: keras.KerasTensor, logits: keras.KerasTensor) -> keras.Model:
    return keras.Model(pixels, layers.Softmax(name="probabilities")(logits))


def _build_baseline(architecture: Architecture) -> Network:
    """Build a baseline: the trunk averages the image down, the top is the network."""
    size = architecture.image_size
    pixels = keras.Input((size, size, 3), name="pixels")
    small = layers.AveragePooling2D(max(1, size // architecture.inner_size), name="average")(pixels)
    top = _baseline(architecture, small.shape[1:])
    return Network(architecture, _probabilities(pixels, top(small)), keras.Model(pixels, small), top)


def baseline_architecture(baseline: Baseline, image_size: int, classes: tuple[str, ...]) -> Architecture:
    """Describe a baseline as params.yaml wants it."""
    size, dropout = baseline.image_size, baseline.dropout
    if isinstance(baseline, Cnn):
        return Architecture("cnn", image_size, classes, (), dropout, inner_size=size, filters=baseline.filters)
    units = baseline.units if isinstance(baseline, Ann) else ()
    return Architecture("ann", image_size, classes, units, dropout, inner_size=size)


def frozen_trunk(backbone: keras.Model, name: Named, cut: str, pooling: Pooling = "average") -> keras.Model:
    """Return the part of a backbone below a cut: pixels (n, S, S, 3) to activations.

    At the cut "top" these are pooled, (n, channels): the head has no use for their places. Elsewhere they are
    (n, height, width, channels), or (n, tokens, channels) in a Vision Transformer; at the cut "input" they are the
    pixels themselves.

    Raises:
        UserError: the backbone has no such cut.
    """
    activations = frozen_output(backbone, name, cut, pooling)
    if activations is backbone.input:
        activations = layers.Identity(name="nothing_frozen")(activations)
    return keras.Model(backbone.input, activations, name="trunk")


def build(architecture: Architecture, cut: str = "top") -> Network:
    """Build a network with random weights, cut where it is to be trained (a baseline has one place only).

    In a transfer model, variables below the cut take no part in training, and batch normalisation is in inference mode.
    "auto" is the backbone's default cut, and at "input" all of it is trained.

    Raises:
        UserError: the backbone has no such cut.
    """
    if architecture.kind != "transfer":
        return _build_baseline(architecture)
    name = architecture.backbone
    cut = resolve_cut(name, cut)
    entry = backbone_of(name)
    backbone = entry.build(architecture.image_size)
    pooled = entry.pool(backbone.output, architecture.pooling)
    head = _head(architecture, pooled.shape[-1])
    whole = _probabilities(backbone.input, head(pooled))
    trunk = frozen_trunk(backbone, name, cut, architecture.pooling)
    if cut == "top":
        return Network(architecture, whole, trunk, head, backbone)
    above = layers_above(backbone, entry.activations(backbone, cut))
    top = keras.Model(above.input, head(entry.pool(above.output, architecture.pooling)), name="top")
    return Network(architecture, whole, trunk, top, backbone, cut)


def from_pixels(network: Network) -> keras.Model:
    """Return trunk and top in one, for training on images that change in every step.

    It takes float32 pixels (n, S, S, 3) in 0–1 and gives logits (n, classes). It trains what `top` trains: the layers
    of the trunk are set to be not trainable, and compute as in inference.
    """
    network.trunk.trainable = False
    pixels = keras.Input(network.trunk.input_shape[1:], name="pixels")
    activations = Inference(network.trunk, "frozen_trunk")(pixels)
    return keras.Model(pixels, network.top(activations), name="from_pixels")
