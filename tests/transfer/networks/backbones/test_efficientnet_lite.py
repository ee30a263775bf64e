"""Tests of transfer/networks/backbones/efficientnet_lite.py with the real weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from transfer.core.cuts import CUTS, FACTS
from transfer.core.errors import UserError
from transfer.core.packages import file_in, find
from transfer.networks.backbones import efficientnet_lite
from transfer.networks.backbones.registry import BACKBONES, pretrained
from transfer.networks.backbones.weights import PackagedWeights

NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def _packaged(name: str) -> PackagedWeights:
    weights = BACKBONES[name].weights["packaged"]
    assert isinstance(weights, PackagedWeights)
    return weights


@pytest.mark.parametrize(
    ("name", "building", "flower"),
    [
        ("efficientnet_lite0", 698, 985),  # palace, daisy
        ("efficientnet_lite1", 698, 985),
        ("efficientnet_lite2", 442, 599),  # bell cote (palace comes next), honeycomb, at the flower's middle
    ],
)
def test_the_weights_see_what_is_there(name: str, building: int, flower: int) -> None:
    size = FACTS[name].trained_size
    model = efficientnet_lite.build(name, size)
    packaged = _packaged(name)
    classifier = efficientnet_lite.load_packaged(
        model, file_in(find(packaged.package, packaged.version), packaged.file)
    )
    for image, imagenet_class in (("china.jpg", building), ("flower.jpg", flower)):
        square = Image.fromarray(load_sample_image(image)[:, 100:527])
        pixels = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR), np.float32)[None] / 255
        features = model(pixels, training=False).numpy().mean(axis=(1, 2))
        assert np.argmax(features @ classifier[:-1] + classifier[-1]) == imagenet_class


@pytest.mark.parametrize(("name", "millions"), list(zip(NAMES, (4.652, 5.417, 6.092), strict=True)))
def test_the_network_has_the_published_number_of_parameters(name: str, millions: float) -> None:
    """By the release notes of EfficientNet-Lite: 4.7, 5.4 and 6.1 million, with the classifier of 1,281,000."""
    model = efficientnet_lite.build(name, 64)
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert trainable + 1281 * 1000 == pytest.approx(millions * 1e6, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_is_the_end_of_a_block_of_its_stage(name: str) -> None:
    model = efficientnet_lite.build(name, 32)
    widths = {str(i): stage.channels for i, stage in enumerate(efficientnet_lite.stages_of(name), 1)}
    for cut in CUTS[name][1:-1]:
        channels = model.get_layer(efficientnet_lite.last_layer_below(name, cut)).output.shape[-1]
        assert channels == widths[cut[len("block")]]


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"PK\x03\x04 a zip, as newer PyTorch writes")
    with pytest.raises(UserError, match="expected a legacy PyTorch file"):
        efficientnet_lite.load_packaged(efficientnet_lite.build("efficientnet_lite0", 32), file)


def test_a_file_with_another_sha256_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"packaged": replace(_packaged("efficientnet_lite0"), sha256="0" * 64)}
    monkeypatch.setitem(BACKBONES, "efficientnet_lite0", replace(BACKBONES["efficientnet_lite0"], weights=other))
    with pytest.raises(UserError, match=f"expected a file with SHA-256 {'0' * 64}, received one with 57934424"):
        pretrained("efficientnet_lite0", "packaged", 32, 0)
