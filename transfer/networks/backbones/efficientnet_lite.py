"""EfficientNet-Lite for images of any size, and its ImageNet weights.

Lite0 is EfficientNet-B0 (Tan and Le 2019, arXiv:1905.11946, table 1) without squeeze-and-excitation and with ReLU6 for
swish, so that it quantises well. Lite1 and Lite2 have more blocks, and Lite2 has wider ones. The weights come as
PyTorch files converted from the original release.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_lowercase

import keras
import numpy as np
from keras import layers

from transfer.core.cuts import CUTS, LITE_REPEATS
from transfer.core.errors import UserError
from transfer.networks.backbones.legacy_pickle import Tensor, read_tensors

BATCH_NORM_EPSILON = 1e-3
STEM_CHANNELS = 32
TOP_CHANNELS = 1280


@dataclass(frozen=True)
class Stage:
    """A run of inverted-residual blocks of one width. `stride` is that of the first block, the others have 1."""

    repeats: int
    channels: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    Stage(1, 16, 3, 1, 1),
    Stage(2, 24, 3, 2, 6),
    Stage(2, 40, 5, 2, 6),
    Stage(3, 80, 3, 2, 6),
    Stage(3, 112, 5, 1, 6),
    Stage(4, 192, 5, 2, 6),
    Stage(1, 320, 3, 1, 6),
)
"""Those of EfficientNet-B0."""

WIDTHS = {"efficientnet_lite2": 1.1}
"""How much wider than in EfficientNet-B0 the blocks of a network are, where they are."""


def stages_of(name: str) -> tuple[Stage, ...]:
    """Return the stages of a network. Channels are rounded to multiples of 8, as the paper's code does it."""
    width = WIDTHS.get(name, 1.0)
    return tuple(
        replace(stage, repeats=repeats, channels=int(stage.channels * width + 4) // 8 * 8)
        for stage, repeats in zip(STAGES, LITE_REPEATS[name], strict=True)
    )


def _block_names(name: str) -> list[str]:
    """Names of the blocks of a network in order: block1a, block2a, block2b, … ."""
    return [f"block{n}{letter}" for n, count in enumerate(LITE_REPEATS[name], 1) for letter in ascii_lowercase[:count]]


def last_layer_below(name: str, cut: str) -> str:
    """Return the name of the last layer below a cut: block5a is a block, block5 the end of the fifth stage."""
    if cut in ("stem", "top"):
        return f"{cut}_relu"
    return f"{_block_names(name)[CUTS[name].index(cut) - 1]}_out"  # before the first block stands the stem


def _normalise_batch(x: keras.KerasTensor, name: str, activate: bool) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _convolve(x: keras.KerasTensor, channels: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    return layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=f"{name}_conv")(x)


def _block(x: keras.KerasTensor, stage: Stage, stride: int, name: str) -> keras.KerasTensor:
    """Inverted residual block: expand, convolve depthwise, project; added to its input where the shapes agree."""
    entry = x
    if stage.expansion > 1:
        x = _convolve(x, x.shape[-1] * stage.expansion, 1, 1, f"{name}_expand")
        x = _normalise_batch(x, f"{name}_expand", activate=True)
    x = layers.DepthwiseConv2D(stage.kernel, stride, "same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = _normalise_batch(x, f"{name}_depthwise", activate=True)
    x = _convolve(x, stage.channels, 1, 1, f"{name}_project")
    x = _normalise_batch(x, f"{name}_project", activate=False)
    if stride == 1 and entry.shape[-1] == stage.channels:
        return layers.Add(name=f"{name}_out")([entry, x])
    return layers.Identity(name=f"{name}_out")(x)


def build(name: str, image_size: int) -> keras.Model:
    """Build efficientnet_lite0, 1 or 2 without its classifier.

    Takes float32 pixels (n, image_size, image_size, 3) in 0–1 and gives activations (n, s, s, 1280), all >= 0, where s
    is image_size / 32 rounded up. The weights are random: see `load_packaged`.
    """
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    x = layers.Rescaling(255 / 128, -127 / 128, name="rescale")(pixels)  # (255 x - 127) / 128, as it was trained
    x = _normalise_batch(_convolve(x, STEM_CHANNELS, 3, 2, "stem"), "stem", activate=True)
    blocks = iter(_block_names(name))
    for stage in stages_of(name):
        for i in range(stage.repeats):
            x = _block(x, stage, stage.stride if i == 0 else 1, next(blocks))
    x = _normalise_batch(_convolve(x, TOP_CHANNELS, 1, 1, "top"), "top", activate=True)
    return keras.Model(pixels, x, name=name)


def _torch_prefixes(name: str) -> dict[str, str]:
    """Keras layer name: the prefix of its tensors in the PyTorch file."""
    prefixes = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
    for i, block in enumerate(_block_names(name)):
        steps = ("expand", "depthwise", "project")
        for j, step in list(enumerate(steps))[i == 0 :]:  # the first block does not expand
            prefixes[f"{block}_{step}_conv"] = f"_blocks.{i}._{step}_conv"
            prefixes[f"{block}_{step}_bn"] = f"_blocks.{i}._bn{j}"
    return prefixes


def _layer_weights(layer: keras.Layer, prefix: str, tensors: dict[str, Tensor]) -> list[Tensor]:
    """The weights of one layer in Keras' order and layout."""
    if isinstance(layer, layers.BatchNormalization):
        return [tensors[f"{prefix}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    kernel = tensors[f"{prefix}.weight"]  # PyTorch: (out, in, height, width); depthwise: (channels, 1, height, width)
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    return [np.transpose(kernel, (2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]


def load_packaged(model: keras.Model, path: Path) -> Tensor:
    """Fill the model of `build` from the PyTorch file at `path`.

    Returns the ImageNet classifier that the file holds besides, float32 (1281, 1000): the kernel, and the bias as its
    last row. It is not part of the backbone; it lets a test check that the network sees what it should.

    Raises:
        UserError: the file is not readable as legacy PyTorch, or holds other tensors than this network's.
    """
    tensors = read_tensors(path)
    try:
        for name, prefix in _torch_prefixes(model.name).items():
            layer = model.get_layer(name)
            layer.set_weights(_layer_weights(layer, prefix, tensors))
        return np.vstack([tensors["_fc.weight"].T, tensors["_fc.bias"][None]])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: expected the tensors of {model.name}, received others: {error}") from error
