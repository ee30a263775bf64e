"""Tests of transfer/training/metrics.py."""

import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score

from transfer.training.metrics import F1, PredictedClasses


@pytest.mark.parametrize("positive", [0, 1, None])
def test_f1_from_logits_is_that_of_scikit_learn(positive: int | None) -> None:
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 2, 50), random.normal(0, 1, (50, 2)).astype(np.float32)
    metric = F1(positive)
    for start in range(0, 50, 20):
        metric.update_state(np.eye(2, dtype=np.float32)[labels[start : start + 20]], logits[start : start + 20])
    predicted = np.argmax(logits, axis=1)
    expected = (
        f1_score(labels, predicted, average="macro")
        if positive is None
        else f1_score(labels, predicted, pos_label=positive)
    )
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_mixed_labels_count_as_the_class_they_have_most_of() -> None:
    soft = np.array([[0.3, 0.7], [0.6, 0.4], [0.9, 0.1], [0.2, 0.8]], np.float32)
    logits = np.array([[0, 1], [0, 1], [1, 0], [0, 1]], np.float32)
    f1, classes, accuracy = F1(1), PredictedClasses(2), keras.metrics.CategoricalAccuracy()
    for metric in (f1, classes, accuracy):
        metric.update_state(soft, logits)
    assert float(f1.result()) == pytest.approx(f1_score([1, 0, 0, 1], [1, 1, 0, 1]))
    assert float(accuracy.result()) == 0.75
    assert float(classes.result()) == 2
