"""Tests of transfer/scores.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from transfer.scores import Predictions, classification_report, curves, f1, predictions_table, score

FOUR = Predictions(
    ["a.png", "b.png", "c.png", "d.png"],
    np.array([0, 0, 1, 1]),
    np.array([1, 1 / 3, 2 / 3, 1], np.float32),
    np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.55, 0.45]], np.float32),
)


def test_scores_of_four_images_by_hand() -> None:
    scores = score(FOUR, 2, 1)
    assert scores["accuracy"] == 0.5
    assert scores["weighted"] == pytest.approx((1 + 2 / 3) / 3)
    assert scores["f1"] == pytest.approx(0.5)
    assert scores["auc"] == pytest.approx(3 / 4)
    assert scores["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.4, 0.8, 0.45])), abs=1e-6)


def test_auc_of_either_class_is_the_same_with_two() -> None:
    assert score(FOUR, 2, 0)["auc"] == pytest.approx(score(FOUR, 2, 1)["auc"])


def test_more_than_two_classes_are_scored_against_the_rest() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]] * 2, np.float32)
    six = Predictions(list("abcdef"), np.array([0, 1, 2] * 2), np.ones(6, np.float32), probabilities)
    scores = score(six, 3, None)
    assert scores["auc"] == 1
    assert scores["f1"] == scores["f1_macro"] == 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40), st.sampled_from([None, 0, 2])
)
def test_f1_is_that_of_scikit_learn(pairs: list[tuple[int, int]], positive: int | None) -> None:
    labels, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    options = (
        {"labels": [0, 1, 2], "average": "macro"} if positive is None else {"labels": [positive], "average": "macro"}
    )
    assert f1(labels, predicted, 3, positive) == pytest.approx(f1_score(labels, predicted, zero_division=0, **options))


def test_f1_takes_many_resamples_along_an_axis() -> None:
    labels, predicted = np.array([[0, 1, 1], [1, 1, 1]]), np.array([[0, 1, 0], [1, 1, 1]])
    np.testing.assert_allclose(f1(labels, predicted, 2, 1, axis=-1), [2 / 3, 1])


def test_the_table_names_classes() -> None:
    table = predictions_table(FOUR, ("intact", "defective"))
    assert list(table.columns) == ["image", "actual", "predicted", "weight", "p_intact", "p_defective"]
    assert list(table["predicted"]) == ["intact", "defective", "defective", "intact"]
    assert table["p_defective"][2] == pytest.approx(0.8)


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
    many = Predictions([f"{i}.png" for i in range(400)], labels, np.ones(400, np.float32), probabilities)
    roc, precision_recall = curves(many, tuple(f"class {i}" for i in range(50)), None)
    for curve in (roc, precision_recall):
        assert set(curve["class"]) == {"all"}
        assert len(curve) <= 1000
    assert (roc.iloc[0, 1], roc.iloc[0, 2], roc.iloc[-1, 1], roc.iloc[-1, 2]) == (0, 0, 1, 1)
    area = float(np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"]))
    assert area == pytest.approx(0.5, abs=0.06)  # the labels are drawn at random
