"""A small backbone of each of KerasHub's families through all that the pipeline does: python -m benchmarks.backbones

Each has random weights and is saved by KerasHub, loaded from its folder, held against KerasHub's own network, trained
for a step above its default cut, and computed by OpenVINO and by ONNX Runtime. Differences are the largest: of features
as a fraction of the largest feature, and for ONNX of a probability of the whole network. What is shown is what works,
and where not, why; rates are those of other benchmarks.

Results: benchmarks/results/backbones.json; families that are not named keep what was measured of them before.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.hub_families import FAMILIES, OFFSET, SCALE, SIZE, write
from transfer.core.cuts import FOLDERS, Hub, resolve_cut
from transfer.core.errors import UserError, one_line, run
from transfer.core.files import read_json, write_json
from transfer.export.calibrated import Calibrated
from transfer.export.contract import Contract
from transfer.export.exporters import write_onnx
from transfer.inference.engines import make_engine
from transfer.networks.backbones import hub
from transfer.networks.backbones.random_weights import noise_images
from transfer.networks.network import Architecture, Network, build

RESULTS = Path("benchmarks/results/backbones.json")
IMAGES = noise_images(SIZE, 4, 1)
CLASSES = ("one", "other")


def features(own: keras.Model) -> NDArray[np.float32]:
    """Return what a network of KerasHub makes of the images, prepared as its converter does."""
    prepared = (255.0 * IMAGES * np.array(SCALE) + np.array(OFFSET)).astype(np.float32)
    given = own(keras.tree.map_structure(lambda _: prepared, own.input), training=False)
    return np.asarray(list(given.values())[-1] if isinstance(given, dict) else given)


def difference(given: object, expected: NDArray[np.float32]) -> float:
    """Return the largest difference, as a fraction of the largest activation."""
    return float(np.abs(np.asarray(given) - expected).max() / np.abs(expected).max())


def _train(network: Network) -> float:
    """Train a step; return the largest change of a moving average, which has to be 0."""
    averages = [v for v in network.whole.variables if "moving_" in v.path]
    before = [np.asarray(v) for v in averages]
    activations = np.asarray(network.trunk(IMAGES, training=False))
    network.top.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.top.fit(activations, np.arange(len(IMAGES)) % 2, verbose=0)
    return max((float(np.abs(np.asarray(v) - old).max()) for v, old in zip(averages, before, strict=True)), default=0.0)


def _onnx(whole: keras.Model, folder: Path) -> float:
    """Return the largest difference of a probability, as the pipeline exports the whole network."""
    import onnxruntime

    contract = Contract("noise", CLASSES, SIZE, 3, True, "", 1, 1.0, "noise", "CC0-1.0", "")
    write_onnx(Calibrated(whole, contract), folder / "model.onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    pixels = np.round(255 * IMAGES).astype(np.uint8)
    given = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    return float(np.abs(given - np.asarray(whole(pixels / np.float32(255), training=False))).max())


def _openvino(model: keras.Model) -> NDArray[np.float32]:
    return np.concatenate(list(make_engine(model, "openvino").run([IMAGES])))


def _attempt(work: Callable[[], object]) -> Any:
    """Return a figure, or why there is none."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 (what a converter raises is the result)
        return one_line(error, 200)


def measure(family: str) -> dict[str, Any]:
    """Take a family through all of it: each figure is a largest difference, or the reason why there is none."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "backbone")
        own = write(family, folder)
        described, model, _ = hub.fetch(f"{FOLDERS}{family}", str(folder), "preset", SIZE, 0)
        expected = features(own)
        network = cut_network(described, model, resolve_cut(described, "auto"))
        return {
            "cuts": list(described.cuts),
            "auto": described.default,
            "features": difference(model(IMAGES, training=False), expected),
            "moving averages": _attempt(lambda: _train(network)),
            "openvino": _attempt(lambda: difference(_openvino(model), expected)),
            "onnx": _attempt(lambda: _onnx(network.whole, folder)),
        }


def cut_network(described: Hub, model: keras.Model, cut: str) -> Network:
    """Return a network on a backbone with the weights of `model`, cut for training."""
    network = build(Architecture("transfer", SIZE, CLASSES, (), 0.0, described), cut)
    network.backbone.set_weights(model.get_weights())
    return network


def main() -> None:
    """Measure the families that the command line names, or all of them."""
    wanted = sys.argv[1:] or list(FAMILIES)
    if unknown := [name for name in wanted if name not in FAMILIES]:
        raise UserError(f"expected families, of {', '.join(FAMILIES)}, received {', '.join(unknown)}")
    results: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {"image_size": SIZE, "families": {}}
    for family in wanted:
        results["families"][family] = _attempt(partial(measure, family))
        print(family, results["families"][family], flush=True)
        results["families"] = {name: results["families"][name] for name in FAMILIES if name in results["families"]}
        write_json(results, RESULTS)
        keras.utils.clear_session()


if __name__ == "__main__":
    run(main)
