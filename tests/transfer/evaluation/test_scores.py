"""Tests of transfer/evaluation/scores.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from transfer.evaluation.scores import (
    Predictions,
    called_scores,
    choose_threshold,
    classification_report,
    curves,
    f1,
    operating_point,
    predictions_table,
    score,
)

FOUR = Predictions(
    ["a.png", "b.png", "c.png", "d.png"],
    np.array([0, 0, 1, 1]),
    np.array([0, 1 / 3, 2 / 3, 1], np.float32),
    np.array([1, 1 / 3, 2 / 3, 1], np.float32),
    np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.55, 0.45]], np.float32),
)


def test_scores_of_four_images_by_hand() -> None:
    scores = score(FOUR, 2, 1)
    assert scores["accuracy"] == 0.5
    assert scores["weighted"] == pytest.approx((1 + 2 / 3) / 3)
    assert "weighted_alternative" not in scores
    assert scores["f1"] == scores["precision"] == scores["recall"] == pytest.approx(0.5)
    assert scores["auc"] == pytest.approx(3 / 4)
    assert scores["auc_weighted"] == pytest.approx(1 - 1 * (1 / 3) / ((2 / 3 + 1) * (1 + 1 / 3)))  # d below b
    assert scores["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.4, 0.8, 0.45])), abs=1e-6)


def test_an_uncertain_image_counts_as_either_class_once() -> None:
    """The image of probability 1/3 is called defective: wrong where that is intact, right where it is defective."""
    scores = score(FOUR, 2, 1, alternative=0.0)
    assert scores["weighted"] == pytest.approx((1 + 2 / 3) / 3)
    assert scores["weighted_alternative"] == pytest.approx((1 + 1 / 3 + 2 / 3) / 3)
    assert score(FOUR, 2, 1, alternative=1 / 3)["weighted_alternative"] == scores["weighted"]  # equal is not above
    assert {**scores, "weighted_alternative": 0} == {**score(FOUR, 2, 1), "weighted_alternative": 0}


def test_auc_of_either_class_is_the_same_with_two() -> None:
    assert score(FOUR, 2, 0)["auc"] == pytest.approx(score(FOUR, 2, 1)["auc"])


def test_more_than_two_classes_are_scored_against_the_rest() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]] * 2, np.float32)
    unknown, ones = np.full(6, np.nan, np.float32), np.ones(6, np.float32)
    six = Predictions(list("abcdef"), np.array([0, 1, 2] * 2), unknown, ones, probabilities)
    scores = score(six, 3, None)
    assert scores["auc"] == scores["auc_weighted"] == 1
    assert scores["f1"] == scores["f1_macro"] == 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40), st.sampled_from([None, 0, 2])
)
def test_f1_is_that_of_scikit_learn(pairs: list[tuple[int, int]], positive: int | None) -> None:
    labels, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    options = {"labels": None if positive is None else [positive], "average": "macro"}
    assert f1(labels, predicted, 3, positive) == pytest.approx(f1_score(labels, predicted, zero_division=0, **options))


def test_f1_takes_many_resamples_along_an_axis() -> None:
    labels, predicted = np.array([[0, 1, 1], [1, 1, 1]]), np.array([[0, 1, 0], [1, 1, 1]])
    np.testing.assert_allclose(f1(labels, predicted, 2, 1), [2 / 3, 1])


def test_the_table_names_classes() -> None:
    table = predictions_table(FOUR, ("intact", "defective"))
    assert list(table.columns) == ["image", "actual", "predicted", "weight", "p_intact", "p_defective"]
    assert list(table["predicted"]) == ["intact", "defective", "defective", "intact"]
    assert table["p_defective"][2] == pytest.approx(0.8)


def test_probabilities_near_zero_keep_their_order_in_the_table() -> None:
    """So that DeLong's test, which reads the table, compares the areas that are reported."""
    probabilities = np.array([[1, 3e-9], [1, 2e-8], [1, 1e-8], [1, 4e-7]], np.float32)
    unknown, ones = np.full(4, np.nan, np.float32), np.ones(4, np.float32)
    sure = Predictions(list("abcd"), np.array([0, 0, 1, 1]), unknown, ones, probabilities)
    table = predictions_table(sure, ("intact", "defective"))
    assert roc_auc_score(sure.labels, table["p_defective"]) == score(sure, 2, 1)["auc"] == 0.75


def test_curves_begin_and_end_where_they_must() -> None:
    roc, precision_recall = curves(FOUR, ("intact", "defective"), 1)
    assert tuple(roc.iloc[0, 1:]) == (0, 0)
    assert tuple(roc.iloc[-1, 1:]) == (1, 1)
    assert precision_recall["recall"].iloc[-1] == 0
    assert set(roc["class"]) == {"defective"}


def test_the_report_has_the_confusion_matrix() -> None:
    report = classification_report(FOUR, ("intact", "defective"))
    assert "actual intact          1          1" in report
    assert "defective      0.500     0.500     0.500         2" in report


def test_many_classes_get_one_curve_of_bounded_length() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(50), 400).astype(np.float32)
    labels = random.integers(0, 50, 400)
    unknown, ones = np.full(400, np.nan, np.float32), np.ones(400, np.float32)
    many = Predictions([f"{i}.png" for i in range(400)], labels, unknown, ones, probabilities)
    roc, precision_recall = curves(many, tuple(f"class {i}" for i in range(50)), None)
    for curve in (roc, precision_recall):
        assert set(curve["class"]) == {"all"}
        assert len(curve) <= 1000
    assert (roc.iloc[0, 1], roc.iloc[0, 2], roc.iloc[-1, 1], roc.iloc[-1, 2]) == (0, 0, 1, 1)
    area = float(np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"]))
    assert area == pytest.approx(0.5, abs=0.06)  # the labels are drawn at random


def _f1_at(threshold: float, positive: np.ndarray, probability: np.ndarray) -> float:
    called = probability.astype(np.float64) > threshold
    return 2 * int(np.sum(positive & called)) / int(np.sum(positive) + np.sum(called))


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=2, max_size=25).filter(
        lambda rows: any(row[0] for row in rows)
    )
)
def test_no_threshold_has_a_higher_f1_than_the_one_chosen(rows: list[tuple[bool, float]]) -> None:
    positive = np.array([row[0] for row in rows])
    probability = np.array([row[1] for row in rows], np.float32).round(2)  # so that rounding a threshold moves none
    chosen = choose_threshold(positive, probability)
    best = _f1_at(chosen, positive, probability)
    tried = [*np.arange(0.005, 1, 0.01), 0.5]
    assert best == pytest.approx(max(_f1_at(other, positive, probability) for other in tried))
    if _f1_at(0.5, positive, probability) == pytest.approx(best):
        assert chosen == 0.5
    assert round(chosen, 4) == chosen


def test_the_threshold_is_the_midpoint_of_a_worked_example() -> None:
    """Above 0.3 and below 0.4, F1 is 1; at 0.5 it is 2/3."""
    positive = np.array([False, False, True, True])
    assert choose_threshold(positive, np.array([0.1, 0.3, 0.4, 0.9], np.float32)) == pytest.approx(0.35)
    assert choose_threshold(positive, np.array([0.1, 0.3, 0.6, 0.9], np.float32)) == 0.5
    assert choose_threshold(positive, np.array([0.5, 0.3, 0.1, 0.2], np.float32)) == pytest.approx(0.05)  # call all so


def test_the_operating_point_is_chosen_on_validation_and_judged_on_test() -> None:
    low = np.array([0.1, 0.3, 0.4, 0.9], np.float32)
    validation = Predictions(FOUR.images, FOUR.labels, FOUR.soft_labels, FOUR.confidence, np.stack([1 - low, low], 1))
    scores = operating_point(validation, FOUR, 1)  # FOUR has 0.1 and 0.6 for the intact, 0.8 and 0.45 for the others
    assert scores == {
        "threshold": pytest.approx(0.35),
        "accuracy_at_threshold": 0.75,
        "precision_at_threshold": pytest.approx(2 / 3),
        "recall_at_threshold": 1,
        "f1_at_threshold": pytest.approx(0.8),
    }


def test_scores_of_a_decision_that_calls_nothing() -> None:
    assert called_scores(np.array([True, False]), np.array([False, False])) == {
        "accuracy": 0.5, "precision": 0, "recall": 0, "f1": 0,
    }  # fmt: skip


def test_classes_without_a_weight_have_no_area() -> None:
    """A confidence of 0 takes the images of a class out of the weighted scores; with 3 classes the others count."""
    images, random = 30, np.random.default_rng(0)
    labels, unknown = np.arange(images) % 3, np.full(images, np.nan, np.float32)
    probabilities = random.dirichlet(np.ones(3), images).astype(np.float32)
    weights = np.where(labels == 2, 0, 1).astype(np.float32)
    three = Predictions([""] * images, labels, unknown, weights, probabilities)
    kept = labels != 2
    by_hand = [roc_auc_score(labels[kept] == number, probabilities[kept, number]) for number in (0, 1)]
    assert score(three, 3, None)["auc_weighted"] == pytest.approx(np.mean(by_hand))
