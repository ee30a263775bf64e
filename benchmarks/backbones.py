"""A small backbone of each family through all that the pipeline does: python -m benchmarks.backbones [FAMILY…]

The families are KerasHub's, each a tiny network that KerasHub saved, loaded from its folder, and those of
keras.applications, each by its smallest network; the Vision Transformer of "Base" size comes besides. All have random
weights. Each is held against the library's own network; then the functions that the stages are made of embed four
images, train a head, train one step above the default cut, and export. Differences are the largest: of features and
activations as a fraction of the largest one, and for exports of a probability of the whole network. What is shown is
what works, and where not, why.

"of bare OpenVINO" is how fast the engine of the stage embed runs the trunk, as a fraction of the rate of the same
compiled network whose requests are started again and again without giving it images or taking anything from it: the
median of `ROUNDS` ratios, each of two passes right behind one another, of at least `PASS_S` seconds.

Results: benchmarks/results/backbones.json; families that are not named keep what was measured of them before.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import openvino
from numpy.typing import NDArray

from benchmarks.hub_families import FAMILIES, OFFSET, SCALE, SIZE, write
from benchmarks.keras_networks import built, network_names
from transfer.core.cuts import FACTS, FOLDERS, KERAS, Hub, Named, resolve_cut
from transfer.core.errors import UserError, one_line, run
from transfer.core.files import read_json, write_json
from transfer.export.calibrated import Calibrated
from transfer.export.contract import Contract
from transfer.export.exporters import write_onnx, write_openvino
from transfer.inference.engines import EngineName, make_engine, to_openvino
from transfer.inference.openvino_engine import OpenVINOEngine
from transfer.networks.backbones import hub
from transfer.networks.backbones.applications import family
from transfer.networks.backbones.random_weights import noise_images
from transfer.networks.backbones.registry import pretrained
from transfer.networks.network import Architecture, Network, build, frozen_trunk
from transfer.records.tfrecords import BATCH
from transfer.training.loop import compiled
from transfer.training.recipe import Recipe

RESULTS = Path("benchmarks/results/backbones.json")
IMAGES = noise_images(SIZE, 4, 1)
CLASSES = ("one", "other")
TARGETS = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
ROUNDS, PASS_S = 5, 0.2


def names() -> list[str]:
    """Return all families: KerasHub's, and of keras.applications the smallest network of each module."""
    networks = sorted(network_names(), key=lambda name: FACTS[f"{KERAS}{name}"].parameters, reverse=True)
    smallest = {family(getattr(keras.applications, name)): f"{KERAS}{name}" for name in networks}
    return [*FAMILIES, *sorted(smallest.values()), "vit_base_patch16"]


def features(own: keras.Model) -> NDArray[np.float32]:
    """Return what a network of KerasHub makes of the images, prepared as its converter does."""
    prepared = (255.0 * IMAGES * np.array(SCALE) + np.array(OFFSET)).astype(np.float32)
    given = own(keras.tree.map_structure(lambda _: prepared, own.input), training=False)
    return np.asarray(list(given.values())[-1] if isinstance(given, dict) else given)


def difference(given: object, expected: NDArray[np.float32]) -> float:
    """Return the largest difference, as a fraction of the largest activation."""
    return float(np.abs(np.asarray(given) - expected).max() / np.abs(expected).max())


def _of_keras(name: str) -> tuple[str, keras.Model, NDArray[np.float32]]:
    """Return a network of keras.applications as the pipeline builds it, and what Keras' own makes of the images."""
    size = max(SIZE, FACTS[name].smallest_size)
    model = pretrained(name, "none", size, 1)[0]
    pooling = {"pooling": "avg"} if "ConvNeXt" in name else {}
    own = built(name.removeprefix(KERAS), input_shape=(size, size, 3), **pooling)[0]
    own.set_weights(model.get_weights())
    prepare = sys.modules[getattr(keras.applications, name.removeprefix(KERAS)).__module__].preprocess_input
    return name, model, np.asarray(own(prepare(255.0 * images_of(model)), training=False))


def images_of(model: keras.Model) -> NDArray[np.float32]:
    """Return four images of the size that a backbone takes, (4, S, S, 3) in 0–1."""
    return noise_images(model.input_shape[1], len(IMAGES), 1)


def load(name: str, folder: Path) -> tuple[Named, keras.Model, NDArray[np.float32] | None]:
    """Return a backbone, what is known of it, and what its library makes of the images."""
    if name in FAMILIES:
        own = write(name, folder)
        described, model, _ = hub.fetch(f"{FOLDERS}{name}", str(folder), "preset", SIZE, 0)
        return described, model, features(own)
    if name.startswith(KERAS):
        return _of_keras(name)
    return name, pretrained(name, "none", SIZE, 1)[0], None  # the "ViT" of KerasHub in another size


def _head(network: Network, pooled: NDArray[np.float32]) -> None:
    """Train the head for some steps, as train_head does."""
    head = compiled(network.top.get_layer("head"), Recipe(epochs=5, lr=1e-4), 1)
    head.fit(pooled, TARGETS, epochs=5, verbose=0)


def _step(network: Network, activations: NDArray[np.float32]) -> dict[str, Any]:
    """Train a step as finetune does: the loss, how many variables change, and how much of what has to stay does."""
    trained = network.top.trainable_variables
    ours = {id(variable) for variable in trained}
    frozen = [variable for variable in network.whole.variables if id(variable) not in ours]
    frozen = [variable for variable in frozen if "seed" not in variable.path]  # of dropout
    before = [[np.asarray(variable) for variable in of] for of in (trained, frozen)]
    top = compiled(network.top, Recipe(epochs=1, lr=1e-4, weight_decay=0.05, averaging=0.5), 1)
    (loss,) = top.fit(activations, TARGETS, verbose=0).history["loss"]
    changes, others = (
        [float(np.abs(np.asarray(v) - old).max()) for v, old in zip(of, values, strict=True)]
        for of, values in zip((trained, frozen), before, strict=True)
    )
    return {
        "loss": loss,
        "changed": sum(change > 0 for change in changes),
        "trainable": len(trained),
        "frozen": max(others, default=0.0),
    }


def _exported(whole: keras.Model, folder: Path, kind: str) -> float:
    """Return the largest difference of a probability, as the pipeline exports the whole network."""
    size = whole.input_shape[1]
    pixels = np.round(255 * images_of(whole)).astype(np.uint8)
    calibrated = Calibrated(whole, Contract("noise", CLASSES, size, 3, True, "", 1, 1.0, "noise", "CC0-1.0", ""))
    if kind == "onnx":
        import onnxruntime

        write_onnx(calibrated, folder / "model.onnx")
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
        given = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    else:
        write_openvino(calibrated, folder / "model.xml")
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        given = openvino.Core().compile_model(folder / "model.xml", "CPU", hint)(pixels)[0]
    return float(np.abs(given - np.asarray(whole(pixels / np.float32(255), training=False))).max())


def _seconds(run: Callable[[int], None], batches: int) -> float:
    start = time.perf_counter()
    run(batches)
    return time.perf_counter() - start


def of_bare(trunk: keras.Model) -> dict[str, float]:
    """Return the rate of our engine as a fraction of bare OpenVINO's, and the milliseconds of a bare request."""
    engine = OpenVINOEngine(to_openvino(trunk))
    images = noise_images(trunk.input_shape[1], BATCH, 1)
    bare = openvino.AsyncInferQueue(engine._queue[0].get_compiled_model(), len(engine._queue))
    requests = BATCH // engine._rows

    def ours(batches: int) -> None:
        for _ in engine.run(images for _ in range(batches)):
            pass

    def theirs(batches: int) -> None:
        for _ in range(batches * requests):
            bare.start_async()
        bare.wait_all()

    ours(1)
    batches = max(1, round(PASS_S / min(_seconds(theirs, 1) for _ in range(3))))
    pairs = [(_seconds(ours, batches), _seconds(theirs, batches)) for _ in range(ROUNDS)]
    return {
        "ratio": round(float(np.median([bare / own for own, bare in pairs])), 3),
        "request_ms": round(1e3 * float(np.median([bare for _, bare in pairs])) / (batches * requests), 4),
    }


def _attempt(work: Callable[[], object]) -> Any:
    """Return what is found, or why there is nothing."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 (what a converter raises is the result)
        return one_line(error, 200)


def _embedded(trunk: keras.Model, images: NDArray[np.float32], engine: EngineName = "auto") -> NDArray[np.float32]:
    return np.concatenate(list(make_engine(trunk, engine).run([images])))


def measure(name: str) -> dict[str, Any]:
    """Take a family through all of it: each figure is a largest difference, or the reason why there is none."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        described, model, expected = load(name, folder / "backbone")
        images = images_of(model)
        network = cut_network(described, model, resolve_cut(described, "auto"))
        trunk, below = network.trunk, np.asarray(network.trunk(images, training=False))
        _head(network, _embedded(frozen_trunk(network.backbone, described, "top"), images))
        return {
            "cuts": list((described if isinstance(described, Hub) else FACTS[described]).cuts),
            "auto": network.cut,
            "features": expected if expected is None else difference(model(images, training=False), expected),
            "openvino": _attempt(lambda: difference(_embedded(trunk, images, "openvino"), below)),
            "of bare openvino": _attempt(lambda: of_bare(trunk)),
            "step": _attempt(lambda: _step(network, _embedded(trunk, images))),
            "openvino export": _attempt(lambda: _exported(network.whole, folder, "openvino")),
            "onnx": _attempt(lambda: _exported(network.whole, folder, "onnx")),
        }


def cut_network(described: Named, model: keras.Model, cut: str) -> Network:
    """Return a network on a backbone with the weights of `model`, cut for training."""
    network = build(Architecture("transfer", model.input_shape[1], CLASSES, (), 0.0, described), cut)
    network.backbone.set_weights(model.get_weights())
    return network


def main() -> None:
    """Measure the families that the command line names, or all of them."""
    known = names()
    wanted = sys.argv[1:] or known
    if unknown := [name for name in wanted if name not in known]:
        raise UserError(f"expected families, of {', '.join(known)}, received {', '.join(unknown)}")
    results: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {"image_size": SIZE, "families": {}}
    for name in wanted:
        results["families"][name] = _attempt(partial(measure, name))
        print(name, results["families"][name], flush=True)
        results["families"] = {name: results["families"][name] for name in known if name in results["families"]}
        write_json(results, RESULTS)
        keras.utils.clear_session()


if __name__ == "__main__":
    run(main)
