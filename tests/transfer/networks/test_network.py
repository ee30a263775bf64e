"""Tests of transfer/networks/network.py and transfer/networks/model_files.py."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.core.params import Ann, Cnn, Pooling
from transfer.networks.backbones.registry import pretrained
from transfer.networks.model_files import ModelFiles, load, save
from transfer.networks.network import Architecture, baseline_architecture, build, from_pixels

PIXELS = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
ANN = baseline_architecture(Ann(image_size=8, dropout=0.1, epochs=1, lr=0.1, units=(5,)), 32, ("a", "b", "c"))
CNN = baseline_architecture(Cnn(image_size=8, dropout=0.1, epochs=1, lr=0.1, filters=(4, 6)), 32, ("a", "b", "c"))
TRANSFER = Architecture("transfer", 32, ("a", "b"), (7,), 0.1, backbone="efficientnet_lite0")


@pytest.mark.parametrize("architecture", [ANN, CNN, TRANSFER], ids=["ann", "cnn", "transfer"])
def test_the_whole_is_trunk_and_top(architecture: Architecture) -> None:
    network = build(architecture)
    whole = network.whole(PIXELS, training=False).numpy()
    logits = network.top(network.trunk(PIXELS, training=False), training=False).numpy()
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(whole, exponents / exponents.sum(axis=1, keepdims=True), atol=1e-6)
    assert whole.shape == (3, len(architecture.classes))


POOLED: dict[Pooling, tuple[Callable[..., Any], ...]] = {
    "average": (np.mean,),
    "max": (np.max,),
    "average_max": (np.mean, np.max),
}


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    """EfficientNet-Lite0 for 64 pixels with random weights; only read."""
    return pretrained("efficientnet_lite0", "none", 64, seed=3)[0]


@pytest.mark.parametrize("pooling", POOLED)
@pytest.mark.parametrize("cut", ["top", "block6"])
def test_features_are_pooled_as_wanted(pooling: Pooling, cut: str, backbone: keras.Model) -> None:
    pixels = np.random.default_rng(2).random((3, 64, 64, 3), np.float32)
    network = build(replace(TRANSFER, image_size=64, pooling=pooling, units=()), cut)
    network.backbone.set_weights(backbone.get_weights())
    maps = network.backbone(pixels, training=False).numpy()  # (3, 2, 2, 1280)
    features = np.concatenate([pool(maps, axis=(1, 2)) for pool in POOLED[pooling]], axis=1)
    assert np.mean(np.max(maps, axis=(1, 2)) - np.mean(maps, axis=(1, 2))) > 0.01
    kernel, bias = np.random.default_rng(1).normal(size=(features.shape[1], 2)), np.array([0.5, -0.5])
    network.whole.get_layer("head").set_weights([kernel, bias])
    logits = network.top(network.trunk(pixels, training=False), training=False).numpy()
    np.testing.assert_allclose(logits, features @ kernel + bias, rtol=1e-4, atol=1e-4)


def test_the_ann_has_the_parameters_of_its_layers() -> None:
    assert build(ANN).top.count_params() == 8 * 8 * 3 * 5 + 5 + 5 * 3 + 3


def test_the_cnn_has_the_parameters_of_its_layers() -> None:
    convolutions = 9 * 3 * 4 + 4 * 4 + 9 * 4 * 6 + 4 * 6
    assert build(CNN).top.count_params() == convolutions + 6 * 3 + 3


@pytest.mark.parametrize("architecture", [CNN, TRANSFER], ids=["cnn", "transfer"])
def test_from_pixels_is_the_whole_without_softmax(architecture: Architecture) -> None:
    network = build(architecture)
    joined = from_pixels(network)
    logits = joined(PIXELS, training=False)
    expected = network.whole(PIXELS, training=False).numpy()
    np.testing.assert_allclose(keras.ops.softmax(logits).numpy(), expected, atol=1e-6)
    assert [v.path for v in joined.trainable_variables] == [v.path for v in network.top.trainable_variables]


def test_the_trunk_infers_while_from_pixels_trains() -> None:
    """EfficientNet-B0 has dropout in its blocks, and batch normalisation; its head here has no dropout."""
    network = build(Architecture("transfer", 32, ("a", "b"), (), 0.0, backbone="efficientnetb0"))
    joined = from_pixels(network)
    before = [np.array(variable) for variable in network.trunk.variables]
    training = joined(PIXELS, training=True).numpy()
    np.testing.assert_allclose(training, joined(PIXELS, training=False).numpy(), atol=1e-6)
    for variable, value in zip(network.trunk.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


def test_at_the_input_nothing_is_frozen() -> None:
    network = build(TRANSFER, "input")
    np.testing.assert_array_equal(network.trunk(PIXELS), PIXELS)
    assert not network.trunk.variables
    trained = {variable.path for variable in network.top.trainable_variables}
    assert trained == {variable.path for variable in network.whole.trainable_variables}


def test_auto_is_the_default_cut_and_others_are_refused() -> None:
    auto, named = (build(TRANSFER, cut).trunk for cut in ("auto", "block5"))
    assert auto.output_shape == named.output_shape
    assert len(auto.variables) == len(named.variables)
    with pytest.raises(UserError, match=r"a cut of efficientnet_lite0 \(input, stem, .*, top\), received 'block9'"):
        build(TRANSFER, "block9")


@pytest.mark.parametrize("architecture", [ANN, CNN, TRANSFER], ids=["ann", "cnn", "transfer"])
def test_a_model_is_read_as_it_was_written(tmp_path: Path, architecture: Architecture) -> None:
    network = build(architecture)
    files = ModelFiles(tmp_path / "m.json", tmp_path / "m.weights.h5", tmp_path / "m.npy")
    save(network, np.zeros((1, 2), np.float32), files)
    read = load(files.architecture, files.weights)
    assert read.architecture == architecture
    np.testing.assert_array_equal(read.whole(PIXELS, training=False), network.whole(PIXELS, training=False))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    files = ModelFiles(tmp_path / "m.json", tmp_path / "m.weights.h5", tmp_path / "m.npy")
    save(build(ANN), np.zeros((1, 2), np.float32), files)
    CNN.write(files.architecture)
    with pytest.raises(UserError, match=r"m.weights.h5: damaged, or not the weights of the network beside it"):
        load(files.architecture, files.weights)


def test_a_damaged_description_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    ANN.write(path)
    path.write_text(path.read_text(encoding="utf-8").replace('"ann"', '"rnn"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"m.json: kind: expected 'ann', 'cnn' or 'transfer', received 'rnn'"):
        Architecture.read(path)
