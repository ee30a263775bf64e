"""The networks of keras.applications, from pixels in 0–1: their preprocessing, and where their cuts lie.

`keras.applications` has each network take other pixels: blue first and the mean subtracted, -1 to 1, or standardised.
Here each takes the same, float32 (n, S, S, 3) in 0–1, and its preprocessing is its first layer.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from transfer.core.cuts import CUTS

MEAN = (0.485, 0.456, 0.406)  # of the training images of ImageNet: red, green, blue in 0–1
DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # the same, blue, green, red in 0–255, as VGG and ResNet were trained

Preprocessing = Callable[[keras.KerasTensor], keras.KerasTensor]


class BlueFirst(layers.Layer):
    """Pixels in 0–1 as Caffe takes them: blue, green, red in 0–255 less their mean.

    Takes and gives (n, height, width, 3).
    """

    def call(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        """Turn the channels round, scale, subtract."""
        return pixels[..., ::-1] * 255.0 - ops.convert_to_tensor(CAFFE_MEAN, pixels.dtype)


def blue_first(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Preprocess for VGG and ResNet ("caffe" in keras.applications.imagenet_utils)."""
    return BlueFirst(name="preprocess")(pixels)


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
    network: Callable[..., keras.Model], preprocessing: Preprocessing, **options: object
) -> Callable[[int], keras.Model]:
    """Make the function that builds a network of keras.applications without its classifier.

    That takes the image size S and gives a model from float32 pixels (n, S, S, 3) in 0–1 to activations, with random
    weights.
    """

    def build(image_size: int) -> keras.Model:
        pixels = keras.Input((image_size, image_size, 3), name="pixels")
        model = network(include_top=False, weights=None, input_tensor=preprocessing(pixels), **options)
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


def _at(backbone: str, *layers_below: str) -> dict[str, str]:
    """Say which layer (see `registry.Backbone`) lies below each cut of a backbone, from the pixels upwards."""
    return dict(zip(CUTS[backbone], layers_below, strict=True))


def _efficientnet_cuts(backbone: str, repeats: tuple[int, ...], lone_end: str = "project_bn") -> dict[str, str]:
    """Cuts of an EfficientNet whose stages have so many blocks: a stage of one block does not end in an addition."""
    ends = [f"block{i}{'abcdefgh'[n - 1]}_{'add' if n > 1 else lone_end}" for i, n in enumerate(repeats, 1)]
    return _at(backbone, "stem_activation", *ends, "top_activation")


VGG16_CUTS = _at("vgg16", *(f"block{i}_pool" for i in range(1, 6)))
_RESNET_STAGES = ("pool1_pool", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
RESNET50_CUTS = _at("resnet50", *_RESNET_STAGES)
RESNET50V2_CUTS = _at("resnet50v2", *_RESNET_STAGES, "post_relu")
MOBILENETV2_CUTS = _at(
    "mobilenetv2",
    *("Conv1_relu", "expanded_conv_project_BN"),
    *(f"block_{i}_add" for i in (2, 5, 9, 12, 15)),
    *("block_16_project_BN", "out_relu"),
)
MOBILENETV3_LARGE_CUTS = _at(
    "mobilenetv3_large",
    "<expanded_conv_depthwise",
    *(f"expanded_conv{number}_add" for number in ("", "_2", "_5", "_9", "_11", "_14")),
    "",
)
EFFICIENTNETB0_CUTS = _efficientnet_cuts("efficientnetb0", (1, 2, 2, 3, 3, 4, 1))
EFFICIENTNETB1_CUTS = _efficientnet_cuts("efficientnetb1", (2, 3, 3, 4, 4, 5, 2))  # B2 has as many, but wider ones
EFFICIENTNETB3_CUTS = _efficientnet_cuts("efficientnetb3", (2, 3, 3, 5, 5, 6, 2))
EFFICIENTNETV2B0_CUTS = _efficientnet_cuts("efficientnetv2b0", (1, 2, 2, 3, 5, 8), "project_activation")
CONVNEXT_TINY_CUTS = _at(
    "convnext_tiny", "convnext_tiny_stem", *(f"<convnext_tiny_downsampling_block_{i}" for i in range(3)), ""
)
