"""Backbones that KerasHub loads, each held against KerasHub's own network on the same pixels."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.backbones import IMAGES as PIXELS
from benchmarks.backbones import cut_network, features
from benchmarks.hub_families import FAMILIES, SIZE, write
from transfer.core.cuts import HUB_PRESETS, Found, Hub, resolve_cut
from transfer.core.errors import UserError
from transfer.core.params import Pixels, WeightsPin
from transfer.networks.backbones import hub, registry
from transfer.networks.network import Network, from_pixels

QUICK = ("ViT", "VGG")
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]


def fetch(folder: Path, weights: str = "preset", size: int = SIZE) -> tuple[Hub, keras.Model]:
    described, model, _ = hub.fetch(f"data/backbones/{folder.name}", str(folder), weights, size, 0)
    return described, model


def moving_averages(network: Network) -> dict[str, NDArray[np.float32]]:
    return {v.path: np.asarray(v) for v in network.whole.variables if "moving_" in v.path}


@pytest.mark.parametrize("family", EACH)
def test_a_family_gives_what_kerashub_gives_and_can_be_cut_and_trained(family: str, tmp_path: Path) -> None:
    own = write(family, tmp_path / "folder")
    described, model = fetch(tmp_path / "folder")
    shutil.rmtree(tmp_path / "folder")  # what follows does without
    expected = features(own)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model(PIXELS, training=False), expected, rtol=0, atol=1e-4 * scale)
    assert described.opened
    cut = resolve_cut(described, "auto")
    assert cut in described.cuts[:-1]
    network = cut_network(described, model, cut)
    activations = network.trunk(PIXELS, training=False)
    np.testing.assert_allclose(
        keras.ops.softmax(network.top(activations, training=False)), network.whole(PIXELS, training=False), atol=1e-4
    )
    averages, below = moving_averages(network), network.trunk.get_weights()
    before = [np.asarray(v) for v in network.top.trainable_variables]
    for trained, images in ((network.top, activations), (from_pixels(network), PIXELS)):
        trained.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        trained.fit(np.asarray(images), np.array([0, 1, 0, 1]), epochs=1, verbose=0)
    assert any((np.asarray(v) != old).any() for v, old in zip(network.top.trainable_variables, before, strict=True))
    for path, values in moving_averages(network).items():
        np.testing.assert_array_equal(values, averages[path], err_msg=path)
    for values, old in zip(network.trunk.get_weights(), below, strict=True):
        np.testing.assert_array_equal(values, old)


def test_there_is_a_small_backbone_of_each_family_that_is_listed() -> None:
    with HUB_PRESETS.open(encoding="utf-8", newline="") as file:
        listed = {row["family"] for row in csv.DictReader(file)}
    assert {name.split(" ")[0] for name in FAMILIES} == listed


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    write("ViT", tmp_path / "folder")
    described, model = fetch(tmp_path / "folder")
    Found(described).write(tmp_path / "backbone.json")
    again = Found.read(tmp_path / "backbone.json").backbone
    assert again == described
    assert isinstance(again, Hub)
    assert len(described.sha256) == 64
    assert described.cuts == ("stem", "block1", "block2", "block3", "top")
    assert (described.default, described.pool) == ("block2", "class_token")
    assert hub.build(again, SIZE).count_params() == model.count_params() == described.parameters


@pytest.mark.parametrize("family", ["ViT", pytest.param("DeiT", marks=pytest.mark.slow)])
def test_another_size_interpolates_position_embeddings(family: str, tmp_path: Path) -> None:
    write(family, tmp_path / "folder")
    (_, model), (described, larger) = fetch(tmp_path / "folder"), fetch(tmp_path / "folder", size=96)
    assert described.image_size == 96
    flat = np.full((1, SIZE, SIZE, 3), 0.5, np.float32), np.full((1, 96, 96, 3), 0.5, np.float32)
    (small,), (large,) = (
        [v for v in of.variables if v.path.endswith(("position_embedding/embeddings", "position_embedding"))]
        for of in (model, larger)
    )
    old, new = (np.asarray(v).reshape(-1, 16) for v in (small, large))
    others = len(old) - 16
    np.testing.assert_array_equal(new[: others + 1], old[: others + 1])  # the first corner, and what has no place
    np.testing.assert_allclose(new[others + 5], old[others + 3], rtol=1e-6)  # the other corner of the first row
    outputs = [np.asarray(of(pixels, training=False)) for of, pixels in zip((model, larger), flat, strict=True)]
    assert outputs[1].shape[1] - outputs[0].shape[1] == 36 - 16


def test_a_size_that_a_family_does_not_take_is_an_error_that_names_one(tmp_path: Path) -> None:
    write("ViT", tmp_path / "folder")
    with pytest.raises(
        UserError, match=r"image_size: .* takes no images of 70 px: .*divisible.*; set image_size to 64"
    ):
        fetch(tmp_path / "folder", size=70)


def test_weights_of_none_are_random_and_the_same_for_a_seed(tmp_path: Path) -> None:
    write("VGG", tmp_path / "folder")
    described, model = fetch(tmp_path / "folder")
    (random, one), (_, other) = fetch(tmp_path / "folder", "none"), fetch(tmp_path / "folder", "none")
    assert random == replace(described, sha256="")
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(one.get_weights(), model.get_weights(), strict=True))


def _sha256(network: keras.Model) -> str:
    return hashlib.sha256(b"".join(np.asarray(weight).tobytes() for weight in network.weights)).hexdigest()


def test_a_pinned_backbone_is_an_error_once_its_weights_change(tmp_path: Path) -> None:
    name = "data/backbones/folder"
    own = write("ViT", tmp_path / "folder")
    pin = WeightsPin(_sha256(own))
    for size in (SIZE, 96):  # position embeddings that are interpolated are not what is pinned
        found, _, _ = registry.fetch(name, pin, size, 0, tmp_path)
        assert isinstance(found, Hub)
        assert found.sha256 == pin.sha256
    own.weights[0].assign(own.weights[0] + 1e-3)
    own.save_to_preset(str(tmp_path / "folder"))
    assert _sha256(own) != pin.sha256
    with pytest.raises(
        UserError,
        match=rf"weights.sha256: {name} now has weights with the SHA-256 {_sha256(own)}, not {pin.sha256}; bring back "
        r".*, or, if you trust the new ones, set weights to \{sha256: " + _sha256(own),
    ):
        registry.fetch(name, pin, SIZE, 0, tmp_path)
    assert fetch(tmp_path / "folder")[0].sha256 == _sha256(own)  # which nothing pins


def test_pixels_are_scaled_as_given_where_no_file_says_how(tmp_path: Path) -> None:
    name = "data/backbones/folder"
    own = write("VGG", tmp_path / "folder")
    (tmp_path / "folder/image_converter.json").unlink()
    with pytest.raises(
        UserError, match=rf"{name}: no file says how pixels are scaled; set pixels: \{{mean: \[R, G, B\], std: "
    ):
        fetch(tmp_path / "folder")
    pixels = Pixels((0.1, 0.2, 0.3), (0.5, 0.25, 0.2))
    found, model, _ = registry.fetch(name, "preset", SIZE, 0, tmp_path, pixels)
    assert isinstance(found, Hub)
    np.testing.assert_allclose(found.scale, (2, 4, 5))
    np.testing.assert_allclose(found.offset, (-0.2, -0.8, -1.5))
    scaled = (PIXELS - np.array(pixels.mean, np.float32)) / np.array(pixels.std, np.float32)
    expected = np.asarray(own(scaled, training=False))
    np.testing.assert_allclose(model(PIXELS, training=False), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("said", "scale", "offset"),
    [
        ({"rescale_factor": 1 / 255}, (2, 4, 5), (-0.2, -0.8, -1.5)),
        ({"rescale_factor": 2 / 255}, (4, 8, 10), (-0.2, -0.8, -1.5)),
        ({"do_normalize": False}, (1, 1, 1), (0, 0, 0)),
        ({"do_normalize": False, "do_rescale": False}, (255, 255, 255), (0, 0, 0)),
    ],
)
def test_the_file_of_transformers_says_how_pixels_are_scaled(
    said: dict[str, object], scale: tuple[float, ...], offset: tuple[float, ...], tmp_path: Path
) -> None:
    config = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.25, 0.2], **said}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}), encoding="utf-8")
    scaling = hub._own_scaling(str(tmp_path))
    assert scaling is not None
    np.testing.assert_allclose(scaling, (scale, offset), rtol=1e-12)


def test_pixels_that_are_given_come_before_those_of_the_files(tmp_path: Path) -> None:
    write("VGG", tmp_path / "folder")
    pixels = Pixels((0.0, 0.0, 0.0), (1.0, 1.0, 0.5))
    found, _, _ = registry.fetch("data/backbones/folder", "preset", SIZE, 0, tmp_path, pixels)
    assert isinstance(found, Hub)
    assert (found.scale, found.offset) == ((1, 1, 2), (0, 0, 0))


def test_a_folder_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data/backbones/missing has no config.json; put the backbone's files there"):
        registry.fetch("data/backbones/missing", "preset", SIZE, 0, tmp_path)
    write("ViT", tmp_path / "folder")
    (tmp_path / "folder/config.json").write_text(json.dumps({"layers": 3}), encoding="utf-8")
    with pytest.raises(UserError, match=r"Unrecognized format for config.json"):
        fetch(tmp_path / "folder")
