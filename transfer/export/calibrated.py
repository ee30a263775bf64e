"""A trained network as a TensorFlow function, from uint8 pixels to calibrated class probabilities: what is exported."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transfer.evaluation.calibration import SMALLEST
from transfer.export.contract import INPUT, OUTPUT, Contract
from transfer.records.views import apply_view


class Calibrated(tf.Module):
    """The network and what stands before and behind it.

    Args:
        whole: from float32 pixels (n, S, S, 3) in 0–1 to probabilities (n, classes), by a softmax at its end.
        contract: says size, channels, views and temperature.
    """

    def __init__(self, whole: keras.Model, contract: Contract) -> None:
        super().__init__()
        self.logits = keras.Model(whole.input, whole.layers[-1].input)
        self.contract = contract

    def probabilities(self, pixels: tf.Tensor) -> tf.Tensor:
        """Judge images (n, S, S, channels), 0–255, of any type: float32 (n, classes).

        As `records.tfrecords.normalise`, the network, the mean over views and `evaluation.calibration.temper` do it.
        """
        x = tf.cast(pixels, tf.float32) / 255.0
        x = x if self.contract.channels == 3 else tf.concat([x, x, x], axis=-1)
        views, size = self.contract.views, self.contract.image_size
        logits = self.logits(tf.concat([_view(x, view, size) for view in range(views)], axis=0), training=False)
        if views > 1:
            each = tf.reshape(tf.nn.softmax(logits), (views, -1, len(self.contract.classes)))
            logits = tf.math.log(tf.maximum(tf.reduce_mean(each, axis=0), SMALLEST))
        return tf.nn.softmax(logits / self.contract.temperature)

    def of_any_size(self) -> tf.types.experimental.PolymorphicFunction:
        """Return a function of uint8 images (n, height, width, channels) that resizes them."""
        size = self.contract.image_size
        shape = (None, None, None, self.contract.channels)

        def serve(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            as_wide = _resized(pixels, tf.shape(pixels)[1], size)
            return {OUTPUT: self.probabilities(_resized(as_wide, size, size))}

        return tf.function(serve, autograph=False, input_signature=[tf.TensorSpec(shape, tf.uint8, INPUT)])

    def of_one_size(self) -> tf.types.experimental.PolymorphicFunction:
        """Return a function of uint8 images (n, S, S, channels)."""
        shape = (None, self.contract.image_size, self.contract.image_size, self.contract.channels)
        return tf.function(self.probabilities, autograph=False, input_signature=[tf.TensorSpec(shape, tf.uint8, INPUT)])

    def of_weights(self) -> tf.types.experimental.ConcreteFunction:
        """Return a function of uint8 images (n, S, S, channels) and of the weights of `logits`, in their order.

        It calls no other: Keras wraps a grouped convolution into a function for XLA, and converters stop there.
        """
        shape = (None, self.contract.image_size, self.contract.image_size, self.contract.channels)
        weights = self.logits.weights

        def serve(pixels: tf.Tensor, *values: tf.Tensor) -> tf.Tensor:
            with keras.StatelessScope(list(zip(weights, values, strict=True))):
                return self.probabilities(pixels)

        signature = [tf.TensorSpec(shape, tf.uint8), *(tf.TensorSpec(weight.shape, weight.dtype) for weight in weights)]
        tf.config.run_functions_eagerly(True)
        try:
            return tf.compat.v1.wrap_function(serve, signature)
        finally:
            tf.config.run_functions_eagerly(False)


def with_constants(function: tf.types.experimental.ConcreteFunction) -> tf.types.experimental.ConcreteFunction:
    """Return a function that has as constants what it takes from outside, other than its arguments."""
    return convert_variables_to_constants_v2(function)


def _resized(images: tf.Tensor, height: tf.Tensor | int, width: int) -> tf.Tensor:
    """Resize one axis as Pillow does, to whole numbers: it does one after the other."""
    return tf.floor(tf.image.resize(images, (height, width), antialias=True) + 0.5)


def _view(x: tf.Tensor, view: int, size: int) -> tf.Tensor:
    """Return a view of images (n, size, size, 3), as `records.views.apply_view` orders their pixels.

    OpenVINO (2026.4) fails on a network behind tf.reverse, which would do as well.
    """
    if view == 0:
        return x
    places = apply_view(np.arange(size * size).reshape(1, size, size, 1), view).ravel()
    return tf.reshape(tf.gather(tf.reshape(x, (-1, size * size, 3)), places, axis=1), (-1, size, size, 3))
