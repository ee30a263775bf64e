"""The loop of TensorFlow's transfer-learning tutorial over settings of the head, for benchmarks/sweep.py.

As in https://www.tensorflow.org/tutorials/images/transfer_learning, each setting is a `fit` of the whole network:
augmentation in the model, the frozen backbone in inference mode, mean pooling, the head; the backbone runs anew in
every step of every epoch. What differs from the tutorial makes it no slower: the images lie decoded in memory, and
there is no XLA, which compiles for minutes on a CPU. Backbone, weights, images, views, head, optimizer and epochs are
those of the pipeline.

python -m benchmarks.frozen_fit SETTINGS RESULT [--full], in a folder with the outputs of preprocess and weights.
SETTINGS is a JSON list of contents of params.yaml. Without --full some steps are measured, and the rest is estimated.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray

from benchmarks.machine import vector_instructions
from stages import train_head
from transfer.core.errors import UserError, run
from transfer.core.files import write_json
from transfer.core.params import Params
from transfer.core.spec import Spec
from transfer.core.strict import validate
from transfer.networks.network import build
from transfer.records.tfrecords import read_records
from transfer.records.views import count_views
from transfer.training.budget import StepClock
from transfer.training.loop import compiled
from transfer.training.recipe import Recipe, planned_epochs

RECORDS, SPEC, BACKBONE = Path("data/records"), Path("data/records/spec.json"), Path("models/backbone.weights.h5")
STEPS = 25  # training steps that are measured of a setting, where not all are
READ = 256  # images at a time, from the records


@dataclass(frozen=True)
class Images:
    """A split in memory: pixels uint8 (n, S, S, channels), one-hot labels float32 (n, classes)."""

    pixels: NDArray[np.uint8]
    one_hot: NDArray[np.float32]


@dataclass(frozen=True)
class Clocked:
    """What a `fit` of one epoch came to, in seconds: a step's and a validation step's median, and all besides.

    `besides` is what does not grow with the steps: building the network, tracing and the first steps' excess.
    """

    step: float
    validation_step: float
    besides: float


class RandomTranspose(layers.Layer):
    """Swap rows and columns of every other square image (n, S, S, 3), in training only."""

    def __init__(self, seed: int) -> None:
        super().__init__(name="random_transpose")
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, x: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Swap or leave each image."""
        if not training:
            return x
        swapped = keras.random.uniform((ops.shape(x)[0], 1, 1, 1), seed=self._seeds) < 0.5
        return ops.where(swapped, ops.transpose(x, (0, 2, 1, 3)), x)


class FitClock(StepClock):
    """Note when steps end, those of validation too."""

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forget the steps of an earlier epoch."""
        self.validation_ends: list[float] = []

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Note the time."""
        self.validation_ends.append(time.perf_counter())


def augmentation(views: int) -> keras.Sequential:
    """Return the layers that put each training image into a random one of its first 1, 2, 4 or 8 views.

    Each layer has a seed of its own: Keras's `horizontal_and_vertical` (3.15) draws once for both, and gives two views.
    """
    parts = [layers.RandomFlip("horizontal", seed=1), layers.RandomFlip("vertical", seed=2), RandomTranspose(seed=3)]
    used = parts[: views.bit_length() - 1]
    return keras.Sequential(used or [layers.Identity()], name="augmentation")


def tutorial_model(params: Params, spec: Spec) -> keras.Model:
    """Return the network with frozen backbone: float32 pixels (n, S, S, 3) in 0–1 to logits (n, classes)."""
    network = build(train_head.architecture_of(params, spec, params.backbone))
    network.backbone.load_weights(BACKBONE)
    network.backbone.trainable = False
    pixels = keras.Input((spec.image_size, spec.image_size, 3))
    views = augmentation(count_views(params.head.views, spec.symmetry, "head.views"))(pixels)
    return keras.Model(pixels, network.top(network.trunk(views, training=False)))


def read_images(folder: Path, spec: Spec) -> Images:
    """Read a split into memory."""
    batches = list(read_records(folder, spec, READ))
    labels = np.concatenate([batch.labels for batch in batches])
    pixels = np.concatenate([batch.pixels for batch in batches])
    return Images(pixels, np.eye(len(spec.classes), dtype=np.float32)[labels])


def dataset(images: Images, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """Return batches of float32 pixels (n, S, S, 3) in 0–1 and one-hot labels, prefetched as in the tutorial."""

    def decoded(pixels: tf.Tensor, one_hot: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.cast(pixels, tf.float32) / 255.0
        return (tf.image.grayscale_to_rgb(x) if images.pixels.shape[-1] == 1 else x), one_hot

    batches = tf.data.Dataset.from_tensor_slices((images.pixels, images.one_hot))
    batches = batches.shuffle(len(images.pixels)) if shuffle else batches
    return batches.batch(batch_size).map(decoded, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def fit(params: Params, spec: Spec, train: Images, validation: Images, epochs: int, steps: int) -> Clocked:
    """Train one setting for some epochs of some steps, validate after each, and say what it took."""
    start = time.perf_counter()
    head = params.head
    recipe = Recipe(epochs, lr=head.lr, weight_decay=head.weight_decay, label_smoothing=head.label_smoothing)
    model = compiled(tutorial_model(params, spec), recipe, _batches(train, params), ["accuracy"])
    clock = FitClock()
    model.fit(
        dataset(train, params.batch_size, shuffle=True).take(steps),
        validation_data=dataset(validation, params.batch_size, shuffle=False),
        epochs=epochs,
        callbacks=[clock],
        shuffle=False,  # the dataset shuffles
        verbose=0,
    )
    whole = time.perf_counter() - start
    step, validation_step = (float(np.median(np.diff(ends))) for ends in (clock.ends, clock.validation_ends))
    besides = whole - epochs * (steps * step + _batches(validation, params) * validation_step)
    return Clocked(step, validation_step, besides)


def _batches(images: Images, params: Params) -> int:
    return -(-len(images.pixels) // params.batch_size)


def estimated(clocked: list[Clocked], settings: int, epochs: int, steps: int, validation_steps: int) -> float:
    """Return the seconds of all settings, from those of some: what each needs besides, and its steps."""
    seconds = [one.besides + epochs * (steps * one.step + validation_steps * one.validation_step) for one in clocked]
    return settings * float(np.mean(seconds))


def measure(settings: list[Params], spec: Spec, full: bool) -> dict[str, Any]:
    """Return the seconds of the loop over all settings, measured, or estimated from steps of the first and the last.

    Raises:
        UserError: not all have the same epochs and batch size.
    """
    if len(sizes := {(params.head.epochs, params.batch_size) for params in settings}) > 1:
        raise UserError(f"expected settings of one number of epochs and batch size, received {sorted(sizes)}")
    train, validation = (read_images(RECORDS / name, spec) for name in ("train", "validation"))
    steps = _batches(train, settings[0])
    epochs = planned_epochs(settings[0].head.epochs, "head", len(train.pixels))
    start = time.perf_counter()
    if full:
        for params in settings:
            fit(params, spec, train, validation, epochs, steps)
        return {"estimated": False, "seconds_in_settings": time.perf_counter() - start}
    few = min(STEPS, steps)
    clocked = [fit(params, spec, train, validation, 1, few) for params in (settings[0], settings[-1])]
    return {
        "estimated": True,
        "seconds_in_settings": estimated(clocked, len(settings), epochs, steps, _batches(validation, settings[0])),
        "measured_seconds": time.perf_counter() - start,
        "measured_settings": len(clocked),
        "measured_steps": few,
        "steps": steps,
        "validation_steps": _batches(validation, settings[0]),
        "seconds_a_step": [round(one.step, 4) for one in clocked],
        "seconds_a_validation_step": [round(one.validation_step, 4) for one in clocked],
        "seconds_besides": [round(one.besides, 2) for one in clocked],
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(prog="benchmarks.frozen_fit")
    parser.add_argument("settings", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--full", action="store_true", help="run every step of every setting")
    given = parser.parse_args()
    contents = json.loads(given.settings.read_text(encoding="utf-8"))
    settings = [validate(Params, content, given.settings) for content in contents]
    result = {"vector_instructions": vector_instructions(), **measure(settings, Spec.read(SPEC), given.full)}
    write_json(result, given.result)


if __name__ == "__main__":
    run(main)
