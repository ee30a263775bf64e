"""Every kind of backbone in every format: python -m benchmarks.exports [BACKBONE …]

Networks with random weights, that say different things of different images, are exported and held against Keras on
images of noise, at a small size: what is shown is that a format computes what the network does. Whether 8 bits serve a
trained network depends on its weights, and the stage export measures it.

Results: benchmarks/results/exports.json; backbones that are not named keep what was measured of them before.
"""

import gc
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from transfer.core.arrays import Pixels
from transfer.core.cuts import CUTS
from transfer.core.errors import UserError, run
from transfer.core.files import read_json, write_json
from transfer.core.spec import Spec
from transfer.export.calibrated import Calibrated
from transfer.export.contract import Contract
from transfer.export.formats import FORMATS
from transfer.export.parity import Reference, reference
from transfer.export.write import export
from transfer.networks.backbones.random_weights import build_random, noise_images
from transfer.networks.backbones.registry import BACKBONES
from transfer.networks.network import Architecture, Network, build
from transfer.networks.seeds import fix_seeds
from transfer.records.tfrecords import Example, normalise, write_shard

RESULTS = Path("benchmarks/results/exports.json")
SIZE, SEED = 64, 1
SCALED, COMPARED = 64, 64  # images
CLASSES = ("one", "other")
KINDS = (
    "efficientnet_lite0",
    "vgg16",
    "resnet50",
    "resnet50v2",
    "mobilenetv2",
    "mobilenetv3_large",
    "efficientnetb0",
    "efficientnetv2b0",
    "convnext_tiny",
    "vit_base_patch16",
)
"""A backbone of each kind: others of `networks.backbones` differ in depth and width."""


def network(backbone: str, images: Pixels) -> Network:
    """Return a network with random weights whose logits of these images have a mean of 0 and a deviation of 2."""
    fix_seeds(SEED)
    built = build(Architecture("transfer", SIZE, CLASSES, (), 0.0, backbone))
    built.backbone.set_weights(build_random(BACKBONES[backbone].build, SIZE, SEED).get_weights())
    features = built.trunk.predict(normalise(images), verbose=0)
    logits, layer = built.top.predict(features, verbose=0), built.top.get_layer("logits")
    scale = 2 / logits.std(axis=0)
    layer.set_weights([layer.get_weights()[0] * scale, -logits.mean(axis=0) * scale])
    return built


def tried(calibrated: Calibrated, expected: Reference, folder: Path) -> dict[str, dict[str, Any]]:
    """Export a network in all formats; of each say that it is ok, or why it is not written, with its figures."""
    done = export(calibrated, list(FORMATS), expected, folder)
    found: dict[str, dict[str, Any]] = {name: {"status": "ok", **figures} for name, figures in done.written.items()}
    for name, figures in done.not_written.items():
        found[name] = {"status": figures.pop("reason").replace(f"{folder}/", "")[:200], **figures}
    return {name: found[name] for name in FORMATS}


def measure(backbone: str) -> dict[str, Any]:
    """Export a backbone in all formats."""
    pixels = np.round(noise_images(SIZE, SCALED + COMPARED, SEED) * 255).astype(np.uint8)
    scaled, compared = pixels[:SCALED], pixels[SCALED:]
    whole = network(backbone, scaled).whole
    contract = Contract(backbone, CLASSES, SIZE, 3, True, "", 1, 1.0, "noise", "CC0-1.0", "")
    spec = Spec(CLASSES, None, "none", SIZE, 3, {"validation": COMPARED})
    with TemporaryDirectory() as temporary:
        records = Path(temporary) / "validation"
        records.mkdir()
        examples = (Example(f"{i}.png", image, i % 2, float("nan"), 1.0) for i, image in enumerate(compared))
        write_shard(examples, records / "00000.tfrecord")
        expected = reference(whole, contract, records, spec)
        return tried(Calibrated(whole, contract), expected, Path(temporary) / "export")


def main() -> None:
    """Export what the command line names, or one of each kind."""
    wanted = sys.argv[1:] or list(KINDS)
    if unknown := [name for name in wanted if name not in CUTS]:
        raise UserError(f"expected backbones, of {', '.join(CUTS)}, received {', '.join(unknown)}")
    results: dict[str, Any] = (
        read_json(RESULTS) if RESULTS.exists() else {"image_size": SIZE, "images": COMPARED, "backbones": {}}
    )
    for backbone in wanted:
        results["backbones"][backbone] = measure(backbone)
        print(backbone, {name: found["status"] for name, found in results["backbones"][backbone].items()}, flush=True)
        results["backbones"] = {name: results["backbones"][name] for name in CUTS if name in results["backbones"]}
        write_json(results, RESULTS)
        gc.collect()  # `network` clears the session, and large ones are in cycles


if __name__ == "__main__":
    run(main)
