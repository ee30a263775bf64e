"""Tests of transfer/evaluation/judge.py: what is written of a model; the predictions are tested in tests/stages."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import write_records
from transfer.core.arrays import Pixels
from transfer.core.cards import Card, Table
from transfer.core.spec import Spec
from transfer.evaluation.calibration import temper
from transfer.evaluation.judge import Evaluator, averaged, judge, predictions_of, worst_mistakes
from transfer.evaluation.scores import Predictions
from transfer.records.tfrecords import BATCH, Example, read_records
from transfer.workers.runners import LocalRunner

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
    if positive is not None:  # deciding by what an exported file gives, as it is written down
        probabilities = temper(test.probabilities, scores["temperature"])[:, 1].astype(np.float32)
        called = probabilities > scores["threshold"]
        assert scores["recall_at_threshold"] == round(float(called[test.labels == 1].mean()), 4)
        assert scores["accuracy_at_threshold"] == round(float((called == (test.labels == 1)).mean()), 4)
    assert all(round(value, 4) == value for value in scores.values())
    assert reliability["images_after"].sum() == 70


def test_views_are_averaged_image_by_image() -> None:
    one = _predictions(np.random.default_rng(0), 5)
    other = replace(one, probabilities=one.probabilities[:, ::-1].copy())
    mean = averaged([one, other, other, one])
    np.testing.assert_allclose(mean.probabilities, 0.5)
    assert mean.probabilities.dtype == np.float32
    assert (mean.images, averaged([one]).probabilities.tolist()) == (one.images, one.probabilities.tolist())


class _Mirrored:
    """An engine whose probability of the first class is the mean of the left half of the image."""

    name = "left half"

    def run(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            left = batch[:, :, : batch.shape[2] // 2].mean(axis=(1, 2, 3))
            yield np.stack([left, 1 - left], axis=1)


def test_each_view_is_predicted_apart_in_the_order_of_the_records(tmp_path: Path) -> None:
    """Images that are white on the left to different degrees, and black on the right, more of them than a batch."""
    count = BATCH + 3
    pixels = np.zeros((count, 4, 4, 3), np.uint8)
    pixels[:, :, :2] = np.arange(count)[:, None, None, None] * 5
    examples = [Example(f"{i}.png", pixels[i], i % 2, float("nan"), 1.0) for i in range(count)]
    write_records(examples, tmp_path / "test", 48)
    spec = Spec(("a", "b"), None, "mirror", 4, 3, {"test": count})
    model = Evaluator.__new__(Evaluator)
    model._run, model._checked = _Mirrored(), True
    first, mirrored = model.predict(LocalRunner(), tmp_path / "test", spec, views=2)
    np.testing.assert_allclose(first.probabilities[:, 0], np.arange(count) * 5 / 255, atol=1e-6)
    np.testing.assert_array_equal(mirrored.probabilities[:, 0], 0)
    assert first.images == mirrored.images == [f"{i}.png" for i in range(count)]
    assert first.labels.tolist() == [i % 2 for i in range(count)]


def test_the_surest_mistakes_come_first_with_what_spoke_for_the_wrong_class(tmp_path: Path) -> None:
    """The second class is what a model says of images with a spot; of five with one, four are of the first class."""
    spot = (slice(0, 8), slice(0, 8))

    def classify(images: Pixels) -> np.ndarray:
        second = 1 / (1 + np.exp(4 - images[:, *spot].mean(axis=(1, 2, 3)) / 20))
        return np.stack([1 - second, second], axis=1).astype(np.float32)

    pixels = np.full((6, 28, 28, 1), 40, np.uint8)
    pixels[:5, *spot] = np.array([120, 200, 140, 160, 180])[:, None, None, None]
    examples = [Example(f"{i}.png", pixels[i], int(i == 2), float("nan"), 1.0) for i in range(6)]
    write_records(examples, tmp_path / "test", 28 * 28)
    spec = Spec(("plain", "spotted"), None, "none", 28, 1, {"test": 6})
    test = predictions_of(list(read_records(tmp_path / "test", spec, BATCH)), classify(pixels))
    mistakes = worst_mistakes(test, tmp_path / "test", spec, 3, classify)
    assert [mistake.image for mistake in mistakes] == ["1.png", "4.png", "3.png"]
    for mistake in mistakes:
        assert (mistake.actual, mistake.predicted) == ("plain", "spotted")
        assert mistake.falls[spot].mean() > 0.4
        assert np.abs(mistake.falls[16:, 16:]).max() < 0.1
