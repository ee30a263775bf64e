"""Tests of transfer/training/budget.py."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from transfer.core.spec import Spec
from transfer.training.batches import ViewBatches
from transfer.training.budget import epochs_within
from transfer.training.recipe import Job, Recipe


def _data(seed: int | None) -> ViewBatches:
    values = np.random.default_rng(0).normal(0, 1, (24, 3)).astype(np.float32)
    return ViewBatches([values], np.eye(2, dtype=np.float32)[np.arange(24) % 2], 4, seed)


def _job(epochs: int, budget_s: float) -> Job:
    entry = keras.Input((3,))
    top = keras.Model(entry, layers.Dense(2)(entry))
    top.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    spec = Spec(("one", "two"), None, "none", 1, 3, {})
    return Job("net", top, spec, Recipe(epochs, lr=0.1, time_budget_s=budget_s), Path("curves"))


def test_a_budget_that_is_too_short_leaves_one_epoch_and_the_weights_as_they_were() -> None:
    job = _job(10, 1e-6)
    before = job.top.get_weights()
    assert epochs_within(job, _data(1), _data(None)) == 1
    for old, new in zip(before, job.top.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_budget_that_is_long_enough_leaves_all_epochs() -> None:
    assert epochs_within(_job(3, 3600), _data(1), _data(None)) == 3
