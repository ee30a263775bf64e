"""Tests of transfer/backbones/efficientnet_lite.py with the real weights."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from transfer.backbones import efficientnet_lite
from transfer.backbones.registry import BACKBONES, pretrained
from transfer.backbones.weights import PackagedWeights
from transfer.errors import UserError
from transfer.packages import file_in, find


def _packaged() -> PackagedWeights:
    weights = BACKBONES["efficientnet_lite0"].weights["packaged"]
    assert isinstance(weights, PackagedWeights)
    return weights


@pytest.fixture(scope="module")
def backbone_and_classifier() -> tuple[keras.Model, NDArray[np.float32]]:
    model = efficientnet_lite.build(224)
    packaged = _packaged()
    file = file_in(find(packaged.package, packaged.version), packaged.file)
    return model, efficientnet_lite.load_packaged(model, file)


@pytest.mark.parametrize(("image", "imagenet_class"), [("china.jpg", 698), ("flower.jpg", 985)])  # palace, daisy
def test_the_weights_see_a_palace_and_a_daisy(
    backbone_and_classifier: tuple[keras.Model, NDArray[np.float32]], image: str, imagenet_class: int
) -> None:
    model, classifier = backbone_and_classifier
    square = Image.fromarray(load_sample_image(image)[:, 100:527])
    pixels = np.asarray(square.resize((224, 224), Image.Resampling.BILINEAR), np.float32)[None] / 255
    features = model(pixels, training=False).numpy().mean(axis=(1, 2))
    assert np.argmax(features @ classifier[:-1] + classifier[-1]) == imagenet_class


def test_the_network_has_the_published_number_of_parameters() -> None:
    """4.7 million with the classifier of 1,281,000, by the release notes of EfficientNet-Lite."""
    model = efficientnet_lite.build(64)
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert trainable + 1281 * 1000 == pytest.approx(4.652e6, rel=1e-3)


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"PK\x03\x04 a zip, as newer PyTorch writes")
    with pytest.raises(UserError, match="expected a legacy PyTorch file"):
        efficientnet_lite.load_packaged(efficientnet_lite.build(32), file)


def test_a_file_with_another_sha256_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"packaged": replace(_packaged(), sha256="0" * 64)}
    monkeypatch.setitem(BACKBONES, "efficientnet_lite0", replace(BACKBONES["efficientnet_lite0"], weights=other))
    with pytest.raises(UserError, match=f"expected a file with SHA-256 {'0' * 64}, received one with 57934424"):
        pretrained("efficientnet_lite0", "packaged", 32, 0)
