"""Tests of transfer/network.py and transfer/model_files.py."""

from pathlib import Path

import numpy as np
import pytest

from transfer.backbones.names import CUTS
from transfer.backbones.registry import BACKBONES
from transfer.errors import UserError
from transfer.model_files import ModelFiles, load, save
from transfer.network import Architecture, baseline_architecture, build
from transfer.params import Ann, Cnn

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


def test_the_ann_has_the_parameters_of_its_layers() -> None:
    assert build(ANN).top.count_params() == 8 * 8 * 3 * 5 + 5 + 5 * 3 + 3


def test_the_cnn_has_the_parameters_of_its_layers() -> None:
    convolutions = 9 * 3 * 4 + 4 * 4 + 9 * 4 * 6 + 4 * 6
    assert build(CNN).top.count_params() == convolutions + 6 * 3 + 3


@pytest.mark.parametrize("name", BACKBONES)
def test_every_named_cut_is_a_layer(name: str) -> None:
    backbone = BACKBONES[name].build(32)
    places = [backbone.layers.index(backbone.get_layer(BACKBONES[name].last_layer_below(cut))) for cut in CUTS[name]]
    assert places == sorted(set(places))
    assert set(CUTS) == set(BACKBONES)


@pytest.mark.parametrize("architecture", [ANN, CNN, TRANSFER], ids=["ann", "cnn", "transfer"])
def test_a_model_is_read_as_it_was_written(tmp_path: Path, architecture: Architecture) -> None:
    network = build(architecture)
    files = ModelFiles(tmp_path / "m.json", tmp_path / "m.weights.h5", tmp_path / "m.npy")
    save(network, architecture, np.zeros((1, 2), np.float32), files)
    read, its_architecture = load(files.architecture, files.weights)
    assert its_architecture == architecture
    np.testing.assert_array_equal(read.whole(PIXELS, training=False), network.whole(PIXELS, training=False))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    files = ModelFiles(tmp_path / "m.json", tmp_path / "m.weights.h5", tmp_path / "m.npy")
    save(build(ANN), ANN, np.zeros((1, 2), np.float32), files)
    CNN.write(files.architecture)
    with pytest.raises(UserError, match=r"m.weights.h5: expected the weights of the network beside it"):
        load(files.architecture, files.weights)


def test_a_damaged_description_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    ANN.write(path)
    path.write_text(path.read_text(encoding="utf-8").replace('"ann"', '"rnn"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"m.json: kind: expected 'ann', 'cnn' or 'transfer', received 'rnn'"):
        Architecture.read(path)
