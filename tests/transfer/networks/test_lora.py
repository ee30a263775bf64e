"""Tests of transfer/networks/lora.py, with a small Vision Transformer of KerasHub."""

from math import prod
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks.backbones import CLASSES, IMAGES, cut_network
from benchmarks.hub_families import SIZE, write
from transfer.core.errors import UserError
from transfer.networks.backbones import hub
from transfer.networks.lora import RANK, add_updates, merge_updates
from transfer.networks.model_files import ModelFiles, load, save
from transfer.networks.network import Network

LABELS = np.array([0, 1, 0, 1])
WIDTH, HEADS, HIDDEN = 16, 2, 32
"""Of the small Vision Transformer."""


def _network(family: str, folder: Path, cut: str) -> Network:
    write(family, folder / "folder")
    described, model, _ = hub.fetch("data/backbones/folder", str(folder / "folder"), "preset", SIZE, 0)
    return cut_network(described, model, cut)


def _whole(network: Network) -> np.ndarray:
    return np.asarray(network.whole(IMAGES, training=False))


def _train(network: Network) -> None:
    activations = np.asarray(network.trunk(IMAGES, training=False))
    network.top.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.top.fit(activations, LABELS, epochs=3, verbose=0)


def test_only_the_updates_and_the_head_are_trained(tmp_path: Path) -> None:
    network = _network("ViT", tmp_path, "block1")
    before, frozen = _whole(network), [(v, np.asarray(v)) for v in network.backbone.variables]
    add_updates(network)
    np.testing.assert_array_equal(_whole(network), before)
    trained = network.top.trainable_variables
    attention = 3 * (WIDTH * HEADS + WIDTH // HEADS) + HEADS * WIDTH // HEADS + WIDTH  # query, key, value; then output
    block = RANK * (attention + 2 * (WIDTH + HIDDEN))
    head = (WIDTH + 1) * len(CLASSES)
    assert sum(prod(variable.shape) for variable in trained) == 2 * block + head
    assert {variable.name for variable in trained} == {"lora_kernel_a", "lora_kernel_b", "kernel", "bias"}
    _train(network)
    assert np.abs(_whole(network) - before).max() > 1e-3
    for variable, old in frozen:
        np.testing.assert_array_equal(variable, old, err_msg=variable.path)
    changed = [np.abs(v).max() for v in trained if v.name == "lora_kernel_b"]
    assert len(changed) == 2 * 6
    assert min(changed) > 0


def test_a_merged_network_is_stored_without_updates_and_gives_the_same(tmp_path: Path) -> None:
    network = _network("ViT", tmp_path, "block1")
    kinds = [variable.path for variable in network.whole.variables]
    add_updates(network)
    _train(network)
    trained = _whole(network)
    files = ModelFiles(*(tmp_path / name for name in ("m.json", "m.weights.h5", "m.npy")))
    merge_updates(network.whole)
    assert [variable.path for variable in network.whole.variables] == kinds
    np.testing.assert_allclose(_whole(network), trained, atol=1e-5)
    activations = network.trunk(IMAGES, training=False)
    logits = network.top.predict(np.asarray(activations), verbose=0)
    np.testing.assert_allclose(keras.ops.softmax(logits), trained, atol=1e-5)
    save(network, trained, files)
    again = load(files.architecture, files.weights)
    np.testing.assert_allclose(_whole(again), trained, atol=1e-5)


def test_what_was_traced_with_updates_gives_the_same_after_the_merge(tmp_path: Path) -> None:
    network = _network("ViT", tmp_path, "block2")
    add_updates(network)
    _train(network)
    activations = np.asarray(network.trunk(IMAGES, training=False))
    before = network.top.predict(activations, verbose=0)
    merge_updates(network.whole)
    np.testing.assert_allclose(network.top.predict(activations, verbose=0), before, atol=1e-5)


@pytest.mark.parametrize("family", ["CLIP", "DINOV3", "SwinTransformer"])
@pytest.mark.slow
def test_other_transformers_have_blocks_to_update(family: str, tmp_path: Path) -> None:
    network = _network(family, tmp_path, "auto")
    add_updates(network)
    before = _whole(network)
    _train(network)
    trained = _whole(network)
    assert np.abs(trained - before).max() > 1e-3
    merge_updates(network.whole)
    np.testing.assert_allclose(_whole(network), trained, atol=1e-5)


@pytest.mark.parametrize(("family", "cut"), [("VGG", "stage2"), ("ViT", "top")])
def test_without_a_block_above_the_cut_there_is_nothing_to_update(family: str, cut: str, tmp_path: Path) -> None:
    network = _network(family, tmp_path, cut)
    with pytest.raises(
        UserError, match=rf"finetune.method: lora .* none above the cut {cut}; set finetune.method to full, or "
    ):
        add_updates(network)
    assert all(variable.trainable for variable in network.top.trainable_variables)
