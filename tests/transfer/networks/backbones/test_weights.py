"""Tests of preprocessing and of where weights come from, with files made here in the forms that are published."""

import hashlib
import re
import socket
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import pytest
import scipy.ndimage
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from transfer.core.cuts import FACTS, KERAS, SHORT_NAMES
from transfer.core.errors import UserError
from transfer.core.params import WeightsFile
from transfer.networks.backbones import vit, weights
from transfer.networks.backbones.available import downloaded_file, require_known
from transfer.networks.backbones.registry import BACKBONES, fetch, frozen_output, pretrained, trained_backbone
from transfer.networks.backbones.weights import DownloadedWeights, HubWeights

SIZE = 32
BYTES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def _write_as_published(model: keras.Model, path: Path) -> WeightsFile:
    """Write a file *.h5 as those of keras.applications are, layer by layer."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return WeightsFile(str(path), hashlib.sha256(path.read_bytes()).hexdigest())


FAMILIES = (
    *("ConvNeXtTiny", "DenseNet121", "EfficientNetB4", "EfficientNetV2B1", "EfficientNetV2S", "InceptionResNetV2"),
    *("InceptionV3", "MobileNet", "MobileNetV3Small", "NASNetMobile", "ResNet101", "ResNet101V2", "VGG19", "Xception"),
)
"""Of each family of keras.applications, one without a short name, or one that preprocesses by itself here only."""
NETWORKS = (*SHORT_NAMES, *(f"{KERAS}{family}" for family in FAMILIES))
QUICK = ("vgg16", "mobilenetv2", "efficientnetb0", "convnext_tiny", "keras:MobileNetV3Small")
"""One of each way of preprocessing; the others are left to `make test-all`."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in NETWORKS]
)
def test_it_sees_an_image_as_keras_own_network_does(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras builds its network as it does with weights of ImageNet, and gets our file where it asks for its own."""
    size = FACTS[name].smallest_size
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3)).astype(np.float32)
    ours = pretrained(name, "none", size, seed=1)[0]
    file = _write_as_published(ours, tmp_path / "published.h5")
    asked: dict[str, object] = {}

    def get_file(fname: str, origin: str, cache_subdir: str, file_hash: str | None = None) -> str:
        asked.update(url=origin, hash=file_hash, name=fname)
        return file.file

    monkeypatch.setattr(file_utils, "get_file", get_file)
    network = getattr(keras.applications, SHORT_NAMES.get(name, name.removeprefix(KERAS)))
    preprocess_input = sys.modules[network.__module__].preprocess_input
    options = {"pooling": "avg"} if "convnext" in name.lower() else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MobileNets say that the weights are those for 224 pixels
        theirs = network(include_top=False, weights="imagenet", input_shape=(size, size, 3), **options)
    received = ours(images / 255, training=False).numpy()
    expected = theirs(preprocess_input(images), training=False).numpy()
    assert np.mean(np.std(expected, axis=0)) > 0.01
    np.testing.assert_allclose(received, expected, atol=1e-3 * np.abs(expected).max())
    source = BACKBONES[name].weights["imagenet"]
    assert isinstance(source, DownloadedWeights)
    assert (asked["url"], asked["hash"]) == (source.url, source.hash)
    if "NASNet" not in name:  # whose file Keras keeps by another name, so that it may be downloaded twice
        assert asked["name"] == downloaded_file(source.url).name
    assert theirs.count_params() == ours.count_params()


@pytest.mark.parametrize(
    "name", ["vgg16", *(pytest.param(name, marks=pytest.mark.slow) for name in ("efficientnetb0", "convnext_tiny"))]
)
def test_published_files_and_our_own_are_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pretrained(name, "none", SIZE, seed=1)[0]
    pixels = BYTES.astype(np.float32) / 255
    expected = model(pixels, training=False).numpy()
    published = _write_as_published(model, tmp_path / "published.h5")
    own = tmp_path / "own.weights.h5"
    model.save_weights(own)
    for file in (published, WeightsFile(str(own), hashlib.sha256(own.read_bytes()).hexdigest())):
        read, origin = pretrained(name, file, SIZE, seed=2)
        np.testing.assert_array_equal(read(pixels, training=False).numpy(), expected)
        assert file.file in origin.source
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: published.file)
    downloaded, origin = pretrained(name, "imagenet", SIZE, seed=2)
    np.testing.assert_array_equal(downloaded(pixels, training=False).numpy(), expected)
    assert origin.source.startswith("https://storage.googleapis.com/")
    np.testing.assert_array_equal(trained_backbone(name, SIZE, own)(pixels, training=False).numpy(), expected)


def test_random_weights_are_those_of_the_seed() -> None:
    one, same, other = (pretrained("mobilenetv2", "none", SIZE, seed)[0].get_weights() for seed in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(one, other, strict=True))


def test_a_file_is_checked_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.h5"
    file.write_bytes(b"anything")
    with pytest.raises(UserError, match=r"mine.h5: expected a file with SHA-256 0{64}, received one with"):
        fetch("vgg16", WeightsFile(str(file), "0" * 64), SIZE, 0, tmp_path)
    with pytest.raises(UserError, match=r"weights.file: there is no file '.*none.h5'; correct the path"):
        fetch("vgg16", WeightsFile(str(tmp_path / "none.h5"), "0" * 64), SIZE, 0, tmp_path)


def _given(path: Path) -> WeightsFile:
    return WeightsFile(str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def test_files_that_are_no_weights_of_the_network_are_refused_in_one_line(tmp_path: Path) -> None:
    small = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    published, own, damaged, named = (
        tmp_path / name for name in ("other.h5", "other.weights.h5", "damaged.h5", "weights.pt")
    )
    _write_as_published(small, published)
    small.save_weights(own)
    damaged.write_bytes(published.read_bytes()[:700])
    named.write_bytes(b"")
    for path in (published, own, damaged, named):
        with pytest.raises(UserError) as caught:
            fetch("mobilenetv2", _given(path), SIZE, 0, tmp_path)
        assert str(path) in str(caught.value)
        assert re.search(r"damaged, or not the weights of|received", str(caught.value))
        assert "\n" not in str(caught.value)


def test_weights_that_there_are_none_of_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"vgg16 has no packaged weights; set weights to auto, imagenet, none or \{file: "
    ):
        fetch("vgg16", "packaged", SIZE, 0, Path())
    with pytest.raises(
        UserError, match=r"lite0 has no imagenet weights; set weights to auto, packaged, none or \{file: "
    ):
        fetch("efficientnet_lite0", "imagenet", SIZE, 0, Path())


def test_what_is_known_without_keras_is_what_there_is() -> None:
    for name, backbone in BACKBONES.items():
        for kind in ("packaged", "imagenet"):
            if kind in backbone.weights:
                require_known(name, kind)
            else:
                with pytest.raises(UserError, match=f"{name} has no {kind} weights"):
                    require_known(name, kind)


def _away(monkeypatch: pytest.MonkeyPatch, port: int) -> str:
    """Have VGG16 downloaded from a port of this machine; return what is said of it."""
    entry = BACKBONES["vgg16"]
    source = entry.weights["imagenet"]
    assert isinstance(source, DownloadedWeights)
    moved = {"imagenet": replace(source, url=f"http://127.0.0.1:{port}/vgg16_nowhere.h5")}
    monkeypatch.setitem(BACKBONES, "vgg16", replace(entry, weights=moved))
    with pytest.raises(UserError) as caught:
        pretrained("vgg16", "imagenet", SIZE, 0)
    return str(caught.value)


def test_without_the_network_one_line_says_how_to_bring_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: the connection is refused
        said = _away(monkeypatch, nobody.getsockname()[1])
    assert "/vgg16_nowhere.h5: URL fetch failure on " in said
    assert "models/vgg16_nowhere.h5, or give it as `weights: {file: PATH, sha256: SHA-256 of the file}`" in said
    assert "\n" not in said


def test_a_host_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "TIMEOUT", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        said = _away(monkeypatch, silent.getsockname()[1])
    assert "timed out" in said
    assert time.monotonic() - start < 10
    assert socket.getdefaulttimeout() is None


def test_without_kaggle_one_line_says_how_to_bring_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: keras.Model) -> None:
        raise OSError("Max retries\nexceeded")

    monkeypatch.setattr(vit, "BLOCKS", 1)
    entry = BACKBONES["vit_base_patch16"]
    source = entry.weights["imagenet"]
    assert isinstance(source, HubWeights)
    monkeypatch.setitem(
        BACKBONES, "vit_base_patch16", replace(entry, weights={"imagenet": replace(source, load=refuse)})
    )
    with pytest.raises(UserError, match=r"preset vit_base_.*_imagenet: Max retries exceeded; .*weights.h5 from"):
        pretrained("vit_base_patch16", "imagenet", SIZE, 0)


def test_the_vision_transformer_is_kerashubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two blocks, and with a preset written here: features are those that KerasHub's classifier takes."""
    monkeypatch.setattr(vit, "BLOCKS", 2)
    monkeypatch.setattr(vit, "TRAINED_SIZE", 48)
    keras.utils.set_random_seed(0)
    hub = vit._hub_backbone(48)
    hub.save_to_preset(str(tmp_path / "preset"))
    monkeypatch.setattr(vit, "PRESET", str(tmp_path / "preset"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3)).astype(np.float32)
    expected = hub(pixels / 127.5 - 1, training=False).numpy()[:, 0]
    assert np.std(expected) > 0.1
    given = _given(tmp_path / "preset/model.weights.h5")
    for source in ("imagenet", given):
        model = pretrained("vit_base_patch16", source, 48, 0)[0]
        top = keras.Model(model.input, frozen_output(model, "vit_base_patch16", "top"))
        np.testing.assert_allclose(top(pixels / 255, training=False).numpy(), expected, atol=1e-4)
    larger = pretrained("vit_base_patch16", given, 64, 0)[0]
    assert larger(np.zeros((1, 64, 64, 3), np.float32)).shape == (1, 1 + 4 * 4, 768)


@pytest.mark.parametrize(("old", "new"), [(14, 24), (14, 2), (3, 3), (5, 1)])
def test_position_embeddings_are_interpolated_as_in_the_original(old: int, new: int) -> None:
    """vit_jax/checkpoint.py calls scipy.ndimage.zoom of order 1."""
    embeddings = np.random.default_rng(0).normal(0, 1, (1 + old * old, 6)).astype(np.float32)
    received = vit.resize_positions(embeddings, 1 + new * new)
    grid = scipy.ndimage.zoom(embeddings[1:].reshape(old, old, 6), (new / old, new / old, 1), order=1)
    np.testing.assert_allclose(received[1:].reshape(new, new, 6), grid, atol=1e-5)
    np.testing.assert_array_equal(received[0], embeddings[0])
