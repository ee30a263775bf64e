"""How fast a device trains what the pipeline trains: python -m benchmarks.accelerator

Runs on any of Keras's backends, so also where a GPU is that TensorFlow cannot use: KERAS_BACKEND=jax python -m
benchmarks.accelerator. Needs no images and no weights, as rates depend on neither. Results of other devices are kept.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks.clones import ROOT
from benchmarks.machine import vector_instructions
from transfer.core.files import read_json, write_json
from transfer.core.spec import Spec
from transfer.networks.network import Architecture, build
from transfer.training.batches import EVALUATION_BATCH, ViewBatches
from transfer.training.loop import train
from transfer.training.recipe import Job, Recipe

RESULTS = ROOT / "benchmarks/results/accelerator.json"
BACKBONE, IMAGE_SIZE, CLASSES = "efficientnet_lite0", 224, ("intact", "defective")
CUTS = ("top", "block5", "input")
IMAGES = {"cpu": 320, "gpu": 3200}
RECIPE = Recipe(epochs=4, lr=1e-5, averaging=0.98)  # the first epoch compiles
BATCH = 32
TRUNK_BATCH = 256


def device() -> tuple[str, str]:
    """Return the kind of the device that Keras computes on, cpu or gpu, and its name."""
    if keras.backend.backend() == "jax":
        import jax

        first = jax.devices()[0]
        if first.platform != "cpu":
            return "gpu", str(first.device_kind)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if gpus := tf.config.list_physical_devices("GPU"):
            return "gpu", str(tf.config.experimental.get_device_details(gpus[0])["device_name"])
    return "cpu", f"{os.cpu_count()} cores with {vector_instructions()}"


def frozen_pass(trunk: keras.Model, images: int) -> float:
    """Return images a second of a trunk in Keras, after a first batch that compiles it."""
    pixels = np.random.default_rng(0).random((TRUNK_BATCH, *trunk.input_shape[1:]), np.float32)
    np.asarray(trunk.predict_on_batch(pixels))
    start, batches = time.perf_counter(), max(1, images // TRUNK_BATCH)
    for _ in range(batches):
        np.asarray(trunk.predict_on_batch(pixels))
    return round(batches * TRUNK_BATCH / (time.perf_counter() - start), 1)


def random_batches(shape: tuple[int, ...], images: int, seed: int | None) -> ViewBatches:
    """Return batches of random activations (images, …), float16 as the cached ones, and random labels."""
    random = np.random.default_rng(0)
    activations = random.random((images, *shape), np.float32).astype(np.float16)
    targets = np.eye(len(CLASSES), dtype=np.float32)[random.integers(len(CLASSES), size=images)]
    return ViewBatches([activations], targets, BATCH if seed is not None else EVALUATION_BATCH, seed)


def training(cut: str, images: int) -> dict[str, float]:
    """Train what is above a cut for a few epochs; return seconds of the first, and images a second of the others."""
    keras.utils.clear_session()
    top = build(architecture(), cut).top
    spec = Spec(CLASSES, CLASSES[1], "none", IMAGE_SIZE, 1, {"train": images, "validation": BATCH, "test": 0})
    shape = top.input_shape[1:]
    batches, validation = random_batches(shape, images, 0), random_batches(shape, BATCH, None)
    with tempfile.TemporaryDirectory() as folder:
        outcome = train(Job(cut, top, spec, RECIPE, Path(folder)), batches, validation)
    first, *others = outcome.seconds_per_epoch
    return {"first_epoch_s": round(first, 2), "images_per_second": round(images / statistics.median(others), 1)}


def architecture() -> Architecture:
    """Describe the default network."""
    return Architecture("transfer", IMAGE_SIZE, CLASSES, (128,), 0.3, BACKBONE, "average_max")


def main() -> None:
    """Measure on this device, and add what comes out to the results, figure by figure."""
    (kind, name), backend = device(), keras.backend.backend()
    rates: dict[str, object] = {}
    result = {"device": name, "backend": backend, "image_size": IMAGE_SIZE, "training": rates}
    before = read_json(RESULTS) if RESULTS.exists() else {}

    def add(key: str, value: object) -> None:
        print(f"{name}, {backend}: {key}: {value}", file=sys.stderr, flush=True)
        write_json({**before, f"{name}, {backend}": result}, RESULTS)

    result["frozen_pass_images_per_second"] = rate = frozen_pass(build(architecture()).trunk, IMAGES[kind])
    add("frozen pass", rate)
    for cut in CUTS:
        rates[cut] = of_cut = training(cut, IMAGES[kind])
        add(cut, of_cut)


if __name__ == "__main__":
    main()
