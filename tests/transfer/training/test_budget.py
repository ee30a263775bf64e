"""Tests of transfer/training/budget.py."""

import keras
import numpy as np
from keras import layers

from transfer.training.batches import ViewBatches
from transfer.training.budget import epochs_within


def _data(seed: int | None) -> ViewBatches:
    values = np.random.default_rng(0).normal(0, 1, (24, 3)).astype(np.float32)
    return ViewBatches([values], np.eye(2, dtype=np.float32)[np.arange(24) % 2], 4, seed)


def _compiled() -> keras.Model:
    entry = keras.Input((3,))
    top = keras.Model(entry, layers.Dense(2)(entry))
    top.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    return top


def test_a_budget_that_is_too_short_leaves_one_epoch_and_the_weights_as_they_were() -> None:
    top = _compiled()
    before = top.get_weights()
    assert epochs_within(1e-6, 10, top, top, _data(1), _data(None)) == 1
    for old, new in zip(before, top.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_budget_that_is_long_enough_leaves_all_epochs() -> None:
    top = _compiled()
    assert epochs_within(3600, 3, top, top, _data(1), _data(None)) == 3
