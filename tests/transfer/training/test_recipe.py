"""Tests of transfer/training/recipe.py; what else of it works is tested with training."""

import math

import numpy as np
import pytest

from transfer.networks.network import Architecture, build
from transfer.training.recipe import Recipe, averaging_within, make_optimizer, planned_epochs


def test_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    optimizer = make_optimizer(Recipe(epochs=10, lr=0.2, warmup=0.2), steps=5)
    rate = optimizer._learning_rate
    assert float(rate(0)) == 0
    assert float(rate(5)) == pytest.approx(0.1)
    assert float(rate(10)) == pytest.approx(0.2)
    assert float(rate(30)) == pytest.approx(0.2 * 0.5 * (1 + math.cos(math.pi * 0.5)), abs=1e-6)
    assert float(rate(50)) == pytest.approx(0, abs=1e-6)


def test_a_warm_up_as_long_as_a_short_training_leaves_it_a_step() -> None:
    rate = make_optimizer(Recipe(epochs=1, lr=0.2, warmup=0.6), steps=1)._learning_rate
    assert float(rate(0)) == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_base_patch16", "mobilenetv3_large"])
def test_weight_decay_touches_kernels_alone(name: str) -> None:
    """Neither shifts and scales, ConvNeXt's of its layers among them, nor the position embeddings and class token."""
    top = build(Architecture("transfer", 32, ("a", "b"), (7,), 0.1, backbone=name), "input").top
    optimizer = make_optimizer(Recipe(epochs=1, lr=1.0, weight_decay=0.5), steps=1)
    optimizer.build(top.trainable_variables)
    for variable in top.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer._apply_weight_decay(top.trainable_variables)
    lessened = {variable.path for variable in top.trainable_variables if np.mean(np.array(variable)) < 1}
    assert lessened == {variable.path for variable in top.trainable_variables if variable.name == "kernel"}
    assert len(lessened) > 20


def test_weights_are_averaged_over_a_tenth_of_a_short_training() -> None:
    assert averaging_within(0.98, 936) == 0.98
    assert averaging_within(0.98, 36) == pytest.approx(1 - 10 / 36)
    assert averaging_within(0.98, 36) ** 35 < 1e-4  # share of the first step in what is kept
    assert averaging_within(0.98, 5) == 0
    assert averaging_within(0.0, 936) == 0


@pytest.mark.parametrize(
    ("images", "epochs"), [(12, 18), (4000, 18), (8000, 9), (10_000, 7), (12_000, 6), (1_000_000, 6)]
)
def test_by_auto_more_images_have_fewer_epochs_but_never_less_than_a_third(images: int, epochs: int) -> None:
    assert planned_epochs("auto", "finetuned", images) == epochs
    assert planned_epochs(5, "finetuned", images) == 5
