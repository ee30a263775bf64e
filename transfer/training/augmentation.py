"""Random changes of training images inside tf.data: Keras's preprocessing layers, with every draw fixed by a seed.

Keras's layers draw from a generator with a state, which parallel calls race for. Here each image and each batch brings
a seed of its own, so that the same pixels come out whatever the number of threads and whatever came before.
"""

from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from transfer.core.params import Augmentation

OFF = Augmentation(rotation=0.0, crop=0.0, brightness=0.0, contrast=0.0, rand_augment=0, mixup=0.0, cutmix=0.0)
"""No change at all."""

RAND_AUGMENT_FACTOR = 0.3
"""Largest shear and translation, as fractions, and strength of the changes of colour: the ranges of Cubuk et al. 2020
(arXiv:1909.13719), which took them from AutoAugment (arXiv:1805.09501, table 6)."""
RAND_AUGMENT_ROTATION = (-1 / 12, 1 / 12)  # of a full turn: the paper's 30°; by itself Keras turns by up to 108°
RAND_AUGMENT_BITS = (4, 9)  # kept, the upper end excluded: the paper's 4 to 8; by itself Keras keeps a single one


class _Draws(keras.random.SeedGenerator):
    """A sequence of seeds that begins with a given one; it has no state on the device, unlike Keras's own.

    Args:
        seed: int32, a scalar.
        purpose: two sequences that begin with the same seed and serve two purposes are independent.
    """

    def __init__(self, seed: tf.Tensor, purpose: int) -> None:
        self._seed, self._count = seed, purpose << 16

    def next(self, ordered: bool = True) -> tf.Tensor:
        """Return the next seed, int32 (2,)."""
        self._count += 1
        return tf.stack([self._seed, self._count])


class _RandAugment(layers.RandAugment):
    """RandAugment of one image that heeds the seed it is given, and computes only the operations that were drawn.

    Keras's (3.15) draws from a generator of its own regardless, and computes all eleven, which takes longer than
    training on the image does.
    """

    def get_random_transformation(
        self, data: tf.Tensor, training: bool = True, seed: _Draws | None = None
    ) -> dict[str, Any]:
        """Draw operations and their strengths."""
        self._get_seed_generator = lambda _: seed
        drawn: dict[str, Any] = super().get_random_transformation(data, training)
        return drawn

    def transform_images(self, images: tf.Tensor, transformation: dict[str, Any], training: bool = True) -> tf.Tensor:
        """Apply the operations drawn, one after the other, to (1, S, S, 3)."""
        for chosen in tf.unstack(transformation["layer_idxes"], self.num_ops):
            images = tf.switch_case(
                chosen,
                [
                    partial(getattr(self, name).transform_images, images, drawn)
                    for name, drawn in transformation["transforms"].items()
                ],
            )
        return images


def _contrast(most: float) -> layers.Layer:
    """Less or more contrast; given one number, Keras's layer (3.15) only ever adds some, other than it says."""
    return layers.RandomContrast((most, most), (0, 1))


def _rand_augment(operations: int) -> layers.Layer:
    """RandAugment with the ranges of its paper, where Keras's own would change what an image shows."""
    layer = _RandAugment((0, 1), operations, RAND_AUGMENT_FACTOR)
    layer.random_rotation.factor = RAND_AUGMENT_ROTATION
    layer.random_posterization.factor = RAND_AUGMENT_BITS
    return layer


def _cutmix(alpha: float) -> layers.Layer:
    """CutMix whose beta distribution has the parameter `alpha`: Keras draws that too, from a range of at most 0–1."""
    layer = layers.CutMix()
    layer.factor = (alpha, alpha)
    return layer


def turn(image: tf.Tensor, view: tf.Tensor) -> tf.Tensor:
    """Return a view, numbered as by `records.views.apply_view`, of one square image (S, S, channels)."""
    image = tf.cond(view & 4 > 0, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    image = tf.cond(view & 2 > 0, lambda: image[::-1], lambda: image)
    return tf.cond(view & 1 > 0, lambda: image[:, ::-1], lambda: image)


def _crop(images: tf.Tensor, most: float, draws: _Draws) -> tf.Tensor:
    """Cut a square, its side 1 - `most` to 1 of the image's, out of (1, S, S, channels) at any place, and enlarge it.

    Keras has crops of one size only (RandomCrop), or around the centre only (RandomZoom).
    """
    drawn = tf.random.stateless_uniform((3,), draws.next())
    side = 1.0 - most * drawn[0]
    corner = drawn[1:] * (1.0 - side)
    box = tf.concat([corner, corner + side], axis=0)[None]  # top, left, bottom, right, in 0–1
    return tf.image.crop_and_resize(images, box, [0], tf.shape(images)[1:3])


def _change(layer: layers.Layer, images: tf.Tensor, draws: _Draws) -> tf.Tensor:
    return layer.transform_images(images, layer.get_random_transformation(images, seed=draws))


def _mix(layer: layers.Layer, images: tf.Tensor, labels: tf.Tensor, draws: _Draws) -> tuple[tf.Tensor, tf.Tensor]:
    drawn = layer.get_random_transformation(images, seed=draws)
    return layer.transform_images(images, drawn), layer.transform_labels(labels, drawn)


class Augmenter:
    """Changes images at random, as params.yaml wants it; what is 0 there is left out, and takes no time.

    Each image comes in one of its views, then turned, cropped, in another brightness and contrast, then changed by
    RandAugment. Of MixUp (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899), where
    both are wanted, each batch gets one, either as often as the other.

    Args:
        augmentation: how much to change.
        views: the first so many views of an image come up, each as often: 1, 2, 4 or 8 (see `records.views`).
    """

    def __init__(self, augmentation: Augmentation, views: int) -> None:
        self._views, self._crop = views, augmentation.crop
        wanted = {
            "rotation": (augmentation.rotation, layers.RandomRotation),
            "brightness": (augmentation.brightness, partial(layers.RandomBrightness, value_range=(0, 1))),
            "contrast": (augmentation.contrast, _contrast),
            "rand_augment": (augmentation.rand_augment, _rand_augment),
        }
        self._changes = {name: layer(amount) for name, (amount, layer) in wanted.items() if amount}
        mixers = ((augmentation.mixup, layers.MixUp), (augmentation.cutmix, _cutmix))
        self._mixers = [layer(alpha) for alpha, layer in mixers if alpha]
        for layer in (*self._changes.values(), *self._mixers):
            layer.backend.set_backend("tensorflow")  # in tf.data, whatever trains

    def image(self, pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Change one image, float32 (S, S, 3) in 0–1; the seed is int32, a scalar."""
        draws = _Draws(seed, purpose=0)
        if self._views > 1:
            view = tf.random.stateless_uniform((), draws.next(), 0, self._views, tf.int32)
            pixels = tf.ensure_shape(turn(pixels, view), pixels.shape)
        images = pixels[None]
        if "rotation" in self._changes:
            images = _change(self._changes["rotation"], images, draws)
        if self._crop:
            images = tf.ensure_shape(_crop(images, self._crop, draws), images.shape)
        for name in ("brightness", "contrast", "rand_augment"):
            if name in self._changes:
                images = _change(self._changes[name], images, draws)
        return tf.clip_by_value(images[0], 0.0, 1.0)

    def batch(self, pixels: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mix the images of a batch, float32 (n, S, S, 3) in 0–1, and their labels in the same proportion.

        The labels are one-hot, float32 (n, classes), and a row still adds up to 1; the seed is int32, a scalar.
        """
        if not self._mixers:
            return pixels, labels
        draws = _Draws(seed, purpose=1)
        chosen = tf.random.stateless_uniform((), draws.next(), 0, len(self._mixers), tf.int32)
        pixels, labels = tf.switch_case(chosen, [partial(_mix, layer, pixels, labels, draws) for layer in self._mixers])
        return tf.clip_by_value(pixels, 0.0, 1.0), labels
