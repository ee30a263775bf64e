"""A trained network as a TensorFlow function, from uint8 pixels to calibrated class probabilities: what is exported."""

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transfer.calibration import SMALLEST
from transfer.contract import INPUT, OUTPUT, Contract


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

        As `transfer.records.normalise`, the network, the mean over views and `transfer.calibration.temper` do it.
        """
        x = tf.cast(pixels, tf.float32) / 255.0
        x = x if self.contract.channels == 3 else tf.concat([x, x, x], axis=-1)
        views = self.contract.views
        logits = self.logits(tf.concat([_view(x, view) for view in range(views)], axis=0), training=False)
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

    def frozen(self) -> tf.types.experimental.ConcreteFunction:
        """Return `of_one_size` with the weights as constants in it."""
        return convert_variables_to_constants_v2(self.of_one_size().get_concrete_function())


def _resized(images: tf.Tensor, height: tf.Tensor | int, width: int) -> tf.Tensor:
    """Resize one axis as Pillow does, to whole numbers. Pillow changes the width first, and then the height."""
    return tf.floor(tf.image.resize(images, (height, width), antialias=True) + 0.5)


def _view(x: tf.Tensor, view: int) -> tf.Tensor:
    """Return a view of images, as `transfer.views.apply_view` does."""
    x = tf.transpose(x, (0, 2, 1, 3)) if view & 4 else x
    axes = [axis for axis, bit in ((1, 2), (2, 1)) if view & bit]
    return tf.reverse(x, axes) if axes else x
