"""How much faster the pipeline's way is, side by side in one run: python -m benchmarks.speed

Needs the outputs of `dvc repro`. Every rate is the median of several rounds, in which the contestants take turns, so
that a disturbance of the machine hits all of them.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from benchmarks.machine import vector_instructions
from transfer.core.files import write_json
from transfer.core.params import Params, read_params
from transfer.core.spec import Spec
from transfer.inference.engines import Engine, make_engine
from transfer.networks.backbones.registry import BACKBONES
from transfer.networks.model_files import load
from transfer.networks.network import Network, frozen_trunk
from transfer.networks.seeds import fix_seeds
from transfer.records.tfrecords import normalise, read_records
from transfer.training.batches import Batching, ViewBatches, view_batches
from transfer.training.budget import StepClock
from transfer.training.loop import compiled
from transfer.training.memory import keep_freed_memory
from transfer.training.recipe import Recipe

RESULTS = Path("benchmarks/results/speed.json")
RECORDS = Path("data/records/train")
ROUNDS = 3
FORWARD_IMAGES, STEPS, FULL_STEPS = 512, 25, 6

Contestants = dict[str, Callable[[], float]]


def rates(contestants: Contestants) -> dict[str, float]:
    """Return images a second of each contestant, the median over rounds. Each measures and returns its own."""
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(ROUNDS + 1):  # the first turn warms up
        for name, measure in contestants.items():
            rate = measure()
            if turn:
                measured[name].append(rate)
            print(f"{name}: {rate:.1f} images/s", file=sys.stderr, flush=True)
    return {name: round(statistics.median(values), 1) for name, values in measured.items()}


def frozen_pass(network: Network, params: Params, pixels: NDArray[np.uint8]) -> dict[str, float]:
    """The frozen trunk over images, from uint8 pixels."""
    trunk = frozen_trunk(network.backbone, params.backbone, "top", params.head.pooling)

    def by(engine: Engine) -> Callable[[], float]:
        def measure() -> float:
            start = time.perf_counter()
            batches = (normalise(pixels[row : row + 32]) for row in range(0, FORWARD_IMAGES, 32))
            images = sum(len(output) for output in engine.run(batches))
            return images / (time.perf_counter() - start)

        return measure

    def keras_predict() -> float:
        start = time.perf_counter()
        images = len(trunk.predict(normalise(pixels[:FORWARD_IMAGES]), batch_size=32, verbose=0))
        return images / (time.perf_counter() - start)

    engines: Contestants = {name: by(make_engine(trunk, name)) for name in ("openvino", "tensorflow")}
    return rates({**engines, "keras_predict": keras_predict})


def _augmented(spec: Spec, batch_size: int) -> tf.data.Dataset:
    """Records with on-the-fly augmentation that costs next to nothing: each image in a random one of the eight views,
    as the pipeline trains on.
    """

    def examples() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        for batch in read_records(RECORDS, spec, batch_size):
            yield normalise(batch.pixels), np.eye(len(spec.classes), dtype=np.float32)[batch.labels]

    def augment(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.image.random_flip_left_right(tf.image.random_flip_up_down(x))
        swapped = tf.random.uniform((tf.shape(x)[0], 1, 1, 1)) < 0.5
        return tf.where(swapped, tf.transpose(x, (0, 2, 1, 3)), x), y

    shape = (None, spec.image_size, spec.image_size, 3)
    signature = (tf.TensorSpec(shape, tf.float32), tf.TensorSpec((None, len(spec.classes)), tf.float32))
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    return dataset.map(augment, tf.data.AUTOTUNE).prefetch(2)


def _whole(params: Params, frozen: bool) -> keras.Model:
    """The whole network, to train from the pixels, with batch normalisation in inference mode as in the pipeline."""
    network = load(Path("models/head.json"), Path("models/head.weights.h5"))
    for layer in frozen_trunk(network.backbone, params.backbone, params.finetune.cut).layers:
        layer.trainable = not frozen
    features = network.backbone(network.backbone.input, training=False)
    pooled = BACKBONES[params.backbone].pool(features, params.head.pooling)
    return keras.Model(network.backbone.input, network.top(pooled))


def _top(cut: str) -> keras.Model:
    """What the pipeline trains above a cut."""
    return load(Path("models/head.json"), Path("models/head.weights.h5"), cut).top


def training_step(params: Params, spec: Spec, cached: ViewBatches) -> dict[str, float]:
    """The pipeline's training from cached activations and of the whole network from records, and `fit` of the whole
    network from the same records, frozen below the cut or not. All keep freed memory, as the pipeline does.
    """
    keep_freed_memory()
    dataset = _augmented(spec, params.batch_size)

    def fit(model: keras.Model, data: tf.data.Dataset, steps: int) -> Callable[[], float]:
        compiled(model, Recipe(epochs=1, lr=1e-5, clip_norm=params.finetune.clip_norm), steps)
        clock = StepClock()

        def measure() -> float:
            model.fit(data, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock])
            return params.batch_size / clock.seconds_per_step()

        return measure

    return rates(
        {
            "cached_activations": fit(_top(params.finetune.cut), cached.feed(), STEPS),
            "whole_network": fit(_top("input"), dataset.take(FULL_STEPS), FULL_STEPS),
            "fit_whole_network": fit(_whole(params, frozen=False), dataset.take(FULL_STEPS), FULL_STEPS),
            "fit_frozen_below_cut": fit(_whole(params, frozen=True), dataset.take(FULL_STEPS), FULL_STEPS),
        }
    )


def main() -> None:
    """Measure and write the results."""
    fix_seeds(0)
    params, spec = read_params(Path("params.yaml")), Spec.read(Path("data/records/spec.json"))
    network = load(Path("models/head.json"), Path("models/head.weights.h5"))
    batches = list(read_records(RECORDS, spec, 32))
    pixels = np.concatenate([batch.pixels for batch in batches])
    activations = Path("data/activations/finetune")
    cached, _ = view_batches(activations, spec.classes, Batching(params.labels, params.batch_size, params.seed))
    forward = frozen_pass(network, params, pixels)
    training = training_step(params, spec, cached)
    results = {
        "image_size": spec.image_size,
        "cores": os.cpu_count(),
        "vector_instructions": vector_instructions(),
        "frozen_pass_images_per_second": forward,
        "frozen_pass_ratio": round(forward["openvino"] / forward["keras_predict"], 2),
        "training_images_per_second": training,
        "training_ratio": {
            f"{ours} to {theirs}": round(training[ours] / training[theirs], 2)
            for ours, theirs in (
                ("cached_activations", "fit_frozen_below_cut"),
                ("whole_network", "fit_whole_network"),
            )
        },
    }
    write_json(results, RESULTS)
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
