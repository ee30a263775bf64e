"""Tests of transfer/recipe.py; what else of it works is tested with training."""

import math

import pytest

from transfer.recipe import Recipe, make_optimizer


def test_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    optimizer = make_optimizer(Recipe(epochs=10, lr=0.2, warmup_epochs=2), steps=5)
    rate = optimizer._learning_rate
    assert float(rate(0)) == 0
    assert float(rate(5)) == pytest.approx(0.1)
    assert float(rate(10)) == pytest.approx(0.2)
    assert float(rate(30)) == pytest.approx(0.2 * 0.5 * (1 + math.cos(math.pi * 0.5)), abs=1e-6)
    assert float(rate(50)) == pytest.approx(0, abs=1e-6)
