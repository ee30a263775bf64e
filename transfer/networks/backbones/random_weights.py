"""Random weights with which a deep network still tells images apart."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

CALIBRATION_SIZE = 224  # of the images, at most
CALIBRATION_IMAGES = 6  # of that size; of smaller ones as many more as have as many pixels: about 1 GB of activations
BRANCH_SCALE = 0.2  # of what a residual block adds; ConvNeXt's 1e-6 would leave nothing of its blocks


def noise_images(size: int, count: int, seed: int) -> NDArray[np.float32]:
    """Return images with structure at different scales, (count, size, size, 3) in 0–1.

    Sums of coloured squares of 1, 2, 4, … pixels a side, in other shares and with another contrast in each image:
    images of plain noise would all look the same to a network.
    """
    random = np.random.default_rng(seed)
    sides = [2**i for i in range(size.bit_length())]
    shares = random.exponential(size=(len(sides), count, 1, 1, 1))
    shares *= random.uniform(0.05, 0.6, (count, 1, 1, 1)) / np.sqrt(np.sum(shares**2, axis=0))
    images = np.full((count, size, size, 3), 0.5)
    for side, share in zip(sides, shares, strict=True):
        squares = share * random.normal(0, 1, (count, -(-size // side), -(-size // side), 3))
        images += squares.repeat(side, axis=1).repeat(side, axis=2)[:, :size, :size]
    return np.asarray(np.clip(images, 0, 1), np.float32)


def _damp_residual_blocks(model: keras.Model) -> None:
    """Scale what residual blocks add to their input: with 1, a small difference between images grows in each block.

    Goyal et al. 2017 (arXiv:1706.02677, section 5.1) start with 0, which would leave the blocks no gradient.
    """
    giving = {id(layer.output): layer for layer in model.layers}
    for layer in model.layers:
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(keras.ops.full(layer.gamma.shape, BRANCH_SCALE))
        for tensor in layer.input if isinstance(layer, layers.Add) else ():
            last = giving[id(tensor)]
            last = giving[id(last.input)] if isinstance(last, layers.Dropout) else last
            if isinstance(last, layers.BatchNormalization):
                last.gamma.assign(keras.ops.full(last.gamma.shape, BRANCH_SCALE))


def _calibrate(model: keras.Model, images: NDArray[np.float32]) -> None:
    """Set the moving averages of batch normalisation to the statistics of these images, in one pass."""
    changed = [(layer, "momentum") for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    changed += [(layer, "rate") for layer in model.layers if isinstance(layer, layers.Dropout)]
    before = [getattr(layer, name) for layer, name in changed]
    for layer, name in changed:
        setattr(layer, name, 0.0)
    model(images, training=True)
    for (layer, name), value in zip(changed, before, strict=True):
        setattr(layer, name, value)


def _scale_plain(model: keras.Model, images: NDArray[np.float32]) -> None:
    """Draw the kernels of a network without normalisation as He et al. 2015 (arXiv:1502.01852) do, and scale the first.

    Its features then have a standard deviation of 1. They are proportional to the first kernel, as its layers are
    convolutions with ReLU whose biases are 0 at first.
    """
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    for layer in convolutions:
        layer.kernel.assign(keras.initializers.HeNormal()(layer.kernel.shape))
    deviation = np.std(keras.ops.convert_to_numpy(model(images, training=False)))
    convolutions[0].kernel.assign(convolutions[0].kernel / deviation)


def build_random(build: Callable[[int], keras.Model], image_size: int, seed: int) -> keras.Model:
    """Build a network with random weights, features of which are neither 0 nor immense.

    A network is deep, so that with weights as Keras draws them its features shrink to 0 (MobileNetV2) or grow. Where
    it has batch normalisation, the moving averages are set to the statistics of `noise_images`, with the kernels as
    Keras draws them. Where it has no normalisation at all, see `_scale_plain`. Layer normalisation needs nothing, but
    ConvNeXt's LayerScale is set to `BRANCH_SCALE`. The same seed gives the same weights.
    """
    keras.utils.set_random_seed(seed)
    model = build(image_size)
    kinds = {type(layer).__name__ for layer in model._flatten_layers()}  # blocks may hide layers
    _damp_residual_blocks(model)
    if "LayerNormalization" in kinds:
        return model
    size = min(image_size, CALIBRATION_SIZE)
    small = model if size == image_size else build(size)
    small.set_weights(model.get_weights())
    images = noise_images(size, CALIBRATION_IMAGES * CALIBRATION_SIZE**2 // size**2, seed)
    if "BatchNormalization" in kinds:
        _calibrate(small, images)
    else:
        _scale_plain(small, images)
    model.set_weights(small.get_weights())
    return model
