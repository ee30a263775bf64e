"""The recipe of TensorFlow's tutorial on transfer learning: python -m benchmarks.peers.tutorial JOB

Source: https://www.tensorflow.org/tutorials/images/transfer_learning (tensorflow/docs,
site/en/tutorials/images/transfer_learning.ipynb). From it come the layers of augmentation (a horizontal flip, and a
rotation by up to 0.2 of a turn), the frozen base in inference mode inside `fit`, global average pooling, dropout 0.2,
one logit with binary cross-entropy, batches of 32, ten epochs of Adam at 1e-4, and then, with the layers from a point
on set free, ten epochs of RMSprop at 1e-5.

Other than there: the base is EfficientNet-Lite0 and not MobileNetV2; images come from memory, which spares `fit` the
decoding; the weights of the epoch with the lowest validation loss are kept, where the tutorial keeps those of the last.
"""

import math
from pathlib import Path

import transfer  # noqa: F401 (sets what TensorFlow reads when it is imported)

import keras  # isort: skip
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.peers.jobs import BATCH, Array, Job, Pixels, Split, Trained, main, report, rgb
from transfer.networks.backbones.registry import trained_backbone
from transfer.networks.seeds import fix_seeds

EPOCHS, FINE_TUNE_EPOCHS = 10, 10
BASE_LEARNING_RATE = 1e-4
FINE_TUNE_LEARNING_RATE = BASE_LEARNING_RATE / 10
DROPOUT = 0.2
ROTATION = 0.2  # of a turn, either way
FINE_TUNE_AT, TUTORIAL_LAYERS = 100, 154  # of MobileNetV2: the layers before this one stay frozen


class BestEpoch(keras.callbacks.Callback):
    """Keep the weights of the epoch with the lowest validation loss, over several calls of `fit`."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs, self._done = epochs, 0
        self.epoch, self.loss = 0, math.inf
        self.weights: list[Array] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Compare with the best so far."""
        assert logs is not None
        self._done += 1
        report(self._done, self._epochs, logs["loss"], logs["val_loss"])
        if logs["val_loss"] < self.loss:
            self.epoch, self.loss, self.weights = self._done, logs["val_loss"], self.model.get_weights()


def fine_tune_at(layer_count: int) -> int:
    """Return the number of layers, from the input on, that stay frozen: the tutorial's share of its 154, rounded."""
    return round(layer_count * FINE_TUNE_AT / TUTORIAL_LAYERS)


def build(base: keras.Model, seed: int) -> keras.Model:
    """Return the tutorial's model on a base: pixels float32 (n, S, S, 3) in 0–1 to one logit (n, 1)."""
    pixels = keras.Input(base.input_shape[1:], name="images")
    x = layers.RandomFlip("horizontal", seed=seed)(pixels)
    x = layers.RandomRotation(ROTATION, seed=seed)(x)
    x = base(x, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(DROPOUT, seed=seed)(x)
    return keras.Model(pixels, layers.Dense(1, name="logit")(x))


def dataset(split: Split, seed: int | None) -> tf.data.Dataset:
    """Return batches of pixels float32 (n, S, S, 3) and labels, in a new order each epoch where there is a seed."""
    data = tf.data.Dataset.from_tensor_slices((split.pixels, split.labels.astype(np.float32)[:, None]))
    if seed is not None:
        data = data.shuffle(len(split.labels), seed=seed)
    data = data.batch(BATCH)
    if split.pixels.shape[-1] == 1:
        data = data.map(lambda x, y: (tf.image.grayscale_to_rgb(x), y))
    return data.map(lambda x, y: (tf.cast(x, tf.float32) / 255, y)).prefetch(tf.data.AUTOTUNE)


def compile_for(model: keras.Model, optimizer: keras.Optimizer) -> None:
    """Compile as the tutorial does, before each of its two phases."""
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
        jit_compile=False,  # XLA on a CPU compiles for minutes
    )


def _free(base: keras.Model) -> int:
    """Set the upper layers of the base free, and return how many stay frozen."""
    frozen = fine_tune_at(len(base.layers))
    base.trainable = True
    for layer in base.layers[:frozen]:
        layer.trainable = False
    return frozen


def train(job: Job, images: Split, validation: Split) -> Trained:
    """Train in the tutorial's two phases, and keep the best epoch of both."""
    fix_seeds(job.seed)
    base = trained_backbone("efficientnet_lite0", images.pixels.shape[1], Path(job.weights))
    base.trainable = False
    model = build(base, job.seed)
    batches, checks = dataset(images, job.seed), dataset(validation, None)
    first, second = job.epochs(EPOCHS), job.epochs(FINE_TUNE_EPOCHS)
    best = BestEpoch(first + second)
    compile_for(model, keras.optimizers.Adam(BASE_LEARNING_RATE))
    quietly = {"validation_data": checks, "callbacks": [best], "shuffle": False, "verbose": 0}  # `batches` shuffles
    model.fit(batches, epochs=first, **quietly)
    frozen = _free(base)
    compile_for(model, keras.optimizers.RMSprop(FINE_TUNE_LEARNING_RATE))
    model.fit(batches, epochs=second, **quietly)
    model.set_weights(best.weights)

    def predict(pixels: Pixels) -> Array:
        positive = keras.ops.sigmoid(model.predict(rgb(pixels), batch_size=BATCH, verbose=0))
        return np.concatenate([1 - np.asarray(positive), np.asarray(positive)], axis=1)

    notes = {"epochs": first + second, "best_epoch": best.epoch, "layers": len(base.layers), "frozen_layers": frozen}
    return Trained(predict, notes)


if __name__ == "__main__":
    main(train)
