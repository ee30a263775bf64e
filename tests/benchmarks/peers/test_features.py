"""Tests of benchmarks/peers/features.py."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.peers.features import LEARNERS, Learner, choose, train
from benchmarks.peers.jobs import Job
from tests.benchmarks.peers.colours import two_colours
from transfer.networks.backbones.registry import BACKBONES


def test_the_hyper_parameter_is_the_one_that_validation_prefers() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 40)).astype(np.float32)
    labels = (features[:, 0] + random.normal(0, 1, 200) > 0).astype(np.int64)
    learner = Learner(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
        {"logisticregression__C": [1e-4, 1e-2, 1.0, 1e2]},
    )
    best, values = choose(learner, (features[:100], features[100:]), (labels[:100], labels[100:]))
    by_hand = {}
    for c in learner.grid["logisticregression__C"]:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=float(c), max_iter=5000))
        by_hand[c] = model.fit(features[:100], labels[:100]).score(features[100:], labels[100:])
    assert len(set(by_hand.values())) > 1
    assert values == {"logisticregression__C": max(by_hand, key=lambda c: by_hand[c])}
    assert best.score(features[100:], labels[100:]) == max(by_hand.values())
    np.testing.assert_allclose(best[0].mean_, features[:100].mean(axis=0), rtol=1e-4, atol=1e-6)  # training rows alone


@pytest.mark.parametrize("name", LEARNERS)
def test_the_features_tell_two_shades_apart(tiny_backbone: None, tmp_path: Path, name: str) -> None:
    weights = tmp_path / "backbone.weights.h5"
    BACKBONES["efficientnet_lite0"].build(32).save_weights(weights)
    validation = two_colours(20, seed=1)
    trained = train(name, Job("", str(weights), "", seed=1), two_colours(64, seed=0), validation)
    probabilities = trained.predict(validation.pixels)
    assert probabilities.shape == (20, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), validation.labels)
