"""Tests of transfer/evaluation.py: what is written of a model; the predictions are tested in tests/stages."""

import numpy as np
import pytest

from transfer.cards import Card, Table
from transfer.evaluation import judge
from transfer.scores import Predictions
from transfer.spec import Spec

TABLE = Table(
    file="t", image="i", soft_label="p", alternative_threshold=0.0, confidence=((0.0, 1.0), (0.25, 0.5), (1.0, 1.0))
)


def _predictions(random: np.random.Generator, images: int) -> Predictions:
    soft = random.choice([0, 0.25, 1], images).astype(np.float32)
    second = 1 / (1 + np.exp(-(4 * soft - 2 + random.normal(size=images))))
    probabilities = np.stack([1 - second, second], axis=1).astype(np.float32)
    confidence = np.where(soft == 0.25, 0.5, 1).astype(np.float32)
    return Predictions(
        [f"{i}.png" for i in range(images)], (soft > 0.5).astype(np.int64), soft, confidence, probabilities
    )


@pytest.mark.parametrize("positive", ["bad", None])
@pytest.mark.parametrize("table", [TABLE, None])
def test_what_is_written_of_a_model_depends_on_what_there_is(positive: str | None, table: Table | None) -> None:
    random = np.random.default_rng(0)
    train, validation, test = (_predictions(random, images) for images in (50, 60, 70))
    card = Card(title="t", classes=("good", "bad"), positive=positive, table=table)
    spec = Spec(card.classes, positive, "none", 32, 3, {"train": 50, "validation": 60, "test": 70})
    scores, reliability = judge(train, validation, test, spec, card)
    assert ("weighted_alternative" in scores) == (table is not None)
    for name in ("threshold", "f1_at_threshold", "precision", "recall"):
        assert (name in scores) == (positive is not None)
    assert {"temperature", "ece", "ece_calibrated", "brier", "brier_calibrated", "log_loss_calibrated"} <= set(scores)
    assert (scores["train_accuracy"], scores["val_accuracy"]) == (
        round(train.accuracy(), 4),
        round(validation.accuracy(), 4),
    )
    assert all(round(value, 4) == value for value in scores.values())
    assert reliability["images_after"].sum() == 70
