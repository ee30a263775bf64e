"""Tests of benchmarks/peers/tutorial.py."""

from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks.peers import tutorial
from benchmarks.peers.jobs import Job
from benchmarks.peers.tutorial import BestEpoch, build, dataset, fine_tune_at, train
from tests.benchmarks.peers.colours import two_colours
from transfer.networks.backbones.registry import BACKBONES
from transfer.records.tfrecords import normalise


def test_of_the_tutorials_own_network_its_own_layers_stay_frozen() -> None:
    assert fine_tune_at(154) == 100


def test_of_lite0_about_as_large_a_share_stays_frozen() -> None:
    layers = BACKBONES["efficientnet_lite0"].build(32).layers
    frozen = fine_tune_at(len(layers))
    assert frozen / len(layers) == pytest.approx(100 / 154, abs=0.01)
    assert layers[frozen].name.startswith("block5")  # the first that is trained


def test_batches_are_pixels_as_the_pipeline_normalises_them() -> None:
    split = two_colours(40, seed=0)
    batches = list(dataset(split, None).as_numpy_iterator())
    assert [len(x) for x, _ in batches] == [32, 8]
    np.testing.assert_allclose(np.concatenate([x for x, _ in batches]), normalise(split.pixels), atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches])[:, 0], split.labels)


def test_the_order_is_another_in_each_epoch_and_that_of_the_seed() -> None:
    split = two_colours(40, seed=0)

    def first_epochs() -> list[float]:
        return [float(x.sum()) for _ in range(1) for x, _ in dataset(split, 1).repeat(2).as_numpy_iterator()]

    sums = first_epochs()
    assert sums == first_epochs()
    assert sums[:2] != sums[2:]


def test_the_model_is_augmented_in_training_alone(tiny_backbone: None) -> None:
    model = build(BACKBONES["efficientnet_lite0"].build(32), seed=1)
    pixels = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    first, second = (np.asarray(model(pixels, training=False)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, model(pixels, training=True))


def test_the_best_epoch_of_both_phases_is_kept() -> None:
    best, model = BestEpoch(4), keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    best.set_model(model)
    for value, loss in enumerate((0.5, 0.3, 0.4, 0.35)):
        model.set_weights([np.array([[float(value)]])])
        best.on_epoch_end(value, {"loss": 1.0, "val_loss": loss})
    assert (best.epoch, best.loss) == (2, 0.3)
    assert best.weights[0] == [[1.0]]


def test_the_recipe_learns_and_its_seed_decides(
    tiny_backbone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tutorial, "BASE_LEARNING_RATE", 1e-2)
    weights = tmp_path / "backbone.weights.h5"
    BACKBONES["efficientnet_lite0"].build(32).save_weights(weights)
    job = Job("", str(weights), "", seed=1)
    images, validation = two_colours(64, seed=0), two_colours(20, seed=1)
    trained = [train(job, images, validation) for _ in range(2)]
    first, second = (model.predict(validation.pixels) for model in trained)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    assert np.mean(first.argmax(axis=1) == validation.labels) == 1
    assert trained[0].notes["epochs"] == 20
    assert 0 < trained[0].notes["frozen_layers"] < trained[0].notes["layers"]  # type: ignore[operator]
