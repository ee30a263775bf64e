"""The networks of keras.applications, from pixels in 0–1.

`keras.applications` has each network take other pixels: blue first and the mean subtracted, -1 to 1, or standardised.
Here each takes the same, float32 (n, S, S, 3) in 0–1, and its preprocessing is its first layer.
"""

import math
import sys
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

MEAN = (0.485, 0.456, 0.406)  # of the training images of ImageNet: red, green, blue in 0–1
DEVIATION = (0.229, 0.224, 0.225)

Preprocessing = Callable[[keras.KerasTensor], keras.KerasTensor]


class BlueFirst(layers.Layer):
    """Pixels in 0–1 as Caffe takes them: blue, green, red in 0–255 less their mean.

    Takes and gives (n, height, width, 3).
    """

    def __init__(self, mean: tuple[float, ...], name: str) -> None:
        super().__init__(name=name)
        self.mean = mean

    def call(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        """Turn the channels round, scale, subtract."""
        return pixels[..., ::-1] * 255.0 - ops.convert_to_tensor(self.mean, pixels.dtype)


def family(network: Callable[..., keras.Model]) -> str:
    """Return the name of the module of keras.applications that a network is in."""
    return network.__module__.rsplit(".", 1)[-1]


def found_preprocessing(network: Callable[..., keras.Model]) -> Preprocessing:
    """Find out what a network's `preprocess_input` does, and return the same for pixels in 0–1.

    It takes pixels in 0–255, and scales and shifts each channel, or turns the channels round and subtracts. A network
    that preprocesses by itself takes them as they are.

    Raises:
        ValueError: it does something else.
    """
    black_and_colours = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])[:, None, None]  # (4, 1, 1, 3)
    black, *colours = sys.modules[network.__module__].preprocess_input(black_and_colours)[:, 0, 0].round(9)
    gains = (colours - black).round(9)  # of each channel given in each that comes out
    if np.array_equal(gains, np.diag(np.diag(gains))):
        scale, offset = (float(v[0]) if np.ptp(v) == 0 else v.tolist() for v in (np.diag(gains), black))
        rescale: Preprocessing = layers.Rescaling(scale, offset, name="preprocess")
        return rescale
    if np.array_equal(gains[:, ::-1], 255 * np.eye(3)):
        blue_first: Preprocessing = BlueFirst(tuple((-black).tolist()), name="preprocess")
        return blue_first
    raise ValueError(f"{network.__name__}: its preprocess_input does not scale and shift channels")


def around_0(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Scale to -1…1 ("tf" in keras.applications.imagenet_utils)."""
    return layers.Rescaling(2.0, -1.0, name="preprocess")(pixels)


def standardised(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Subtract ImageNet's mean and divide by its standard deviation ("torch" in keras.applications.imagenet_utils)."""
    variance = [deviation**2 for deviation in DEVIATION]
    return layers.Normalization(mean=list(MEAN), variance=variance, name="preprocess")(pixels)


def before_efficientnet(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Give EfficientNet what its own first layers turn into what it was trained on: they divide by 255 and standardise.

    It was trained on (x - mean) / deviation^1.5 (tensorflow issue 49930); keras.applications adds the missing
    1 / sqrt(deviation) behind these layers, but only where it fetches the weights itself. Before them it is
    255 (mean + (x - mean) / sqrt(deviation)).
    """
    scales = [1 / math.sqrt(deviation) for deviation in DEVIATION]
    offsets = [255 * mean * (1 - scale) for mean, scale in zip(MEAN, scales, strict=True)]
    return layers.Rescaling([255 * scale for scale in scales], offsets, name="preprocess")(pixels)


def builder(
    network: Callable[..., keras.Model], preprocessing: Preprocessing | None = None, **options: object
) -> Callable[[int], keras.Model]:
    """Make the function that builds a network of keras.applications without its classifier.

    That takes the image size S and gives a model from float32 pixels (n, S, S, 3) in 0–1 to activations, with random
    weights. Without a preprocessing, it is found out.
    """

    def build(image_size: int) -> keras.Model:
        pixels = keras.Input((image_size, image_size, 3), name="pixels")
        preprocessed = (preprocessing or found_preprocessing(network))(pixels)
        model = network(include_top=False, weights=None, input_tensor=preprocessed, **options)
        return keras.Model(pixels, model.output, name=model.name)  # one input, where Keras makes a list of one

    return build


def efficientnet(network: Callable[..., keras.Model]) -> Callable[[int], keras.Model]:
    """Make the function that builds an EfficientNet: see `builder`.

    Its layer "normalization" keeps mean and variance with the weights. Files of trained weights set them; so that it
    is the same network without such a file, they are set here.
    """
    plain = builder(network, before_efficientnet)

    def build(image_size: int) -> keras.Model:
        model = plain(image_size)
        (normalisation,) = [layer for layer in model.layers if isinstance(layer, layers.Normalization)]
        variance = np.square(DEVIATION)
        normalisation.set_weights([np.array(MEAN), variance, normalisation.get_weights()[2]])
        normalisation.finalize_state()  # what it computes with are copies of these variables
        return model

    return build


def build_of(network: Callable[..., keras.Model]) -> Callable[[int], keras.Model]:
    """Make the function that builds a network of keras.applications, its own preprocessing included: see `builder`."""
    if family(network) == "efficientnet":
        return efficientnet(network)
    if family(network) == "convnext":
        return builder(network, pooling="avg")  # it pools, and then normalises
    return builder(network)


WITHOUT_PREPROCESSING = {
    "mobilenetv3_large": builder(keras.applications.MobileNetV3Large, around_0, include_preprocessing=False),
    "efficientnetv2b0": builder(keras.applications.EfficientNetV2B0, standardised, include_preprocessing=False),
    "convnext_tiny": builder(keras.applications.ConvNeXtTiny, standardised, include_preprocessing=False, pooling="avg"),
}
"""Backbones with short names that were always preprocessed by one layer, where Keras' own preprocessing rounds
otherwise."""
