"""Tests of transfer/training/callbacks.py; what it keeps and where it stops is tested with training."""

import time

import keras
from keras import layers

from transfer.training.callbacks import BestEpoch
from transfer.training.recipe import Recipe


def _network() -> keras.Model:
    entry = keras.Input((3,))
    return keras.Model(entry, layers.Dense(2)(entry))


def test_training_stops_where_another_epoch_would_end_after_the_budget() -> None:
    best = BestEpoch(_network(), Recipe(epochs=9, lr=0.1, time_budget_s=100), time.perf_counter() - 80, "test")
    best.seconds = [19.0]
    assert best._enough(1) is None
    best.seconds = [19.0, 21.0]
    assert best._enough(2) == "time_budget_s: another epoch would end after the 100 s"
