"""Tests of transfer/statistics.py, on cases with known answers."""

import math

import numpy as np
import pytest

from transfer.statistics import accuracy_interval, compare_pairs, f1_interval


def test_accuracy_interval_is_close_to_the_binomial_one() -> None:
    labels, predicted = np.zeros(400, np.int64), np.array([1] * 80 + [0] * 320)
    interval = accuracy_interval(labels, predicted, 4000, 1)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert interval.low == pytest.approx(0.8 - half, abs=0.006)
    assert interval.high == pytest.approx(0.8 + half, abs=0.006)


def test_intervals_are_the_same_for_the_same_seed() -> None:
    labels, predicted = np.array([0, 1] * 50), np.array([0, 1, 1, 1] * 25)
    assert accuracy_interval(labels, predicted, 200, 3) == accuracy_interval(labels, predicted, 200, 3)
    one = f1_interval(labels, predicted, 2, 1, 500, 3)
    assert one == f1_interval(labels, predicted, 2, 1, 500, 3)
    assert one.low < 0.8 < one.high  # F1: 50 hits, 25 false alarms


def test_mcnemar_is_the_binomial_test_of_the_disagreements() -> None:
    """Nine images only the second has right, one only the first: p = 2 (1 + 10) / 2^10."""
    first = np.array([True] * 5 + [True] + [False] * 9)
    second = np.array([True] * 5 + [False] + [True] * 9)
    (pair,) = compare_pairs({"a": first, "b": second})
    assert (pair.only_first, pair.only_second) == (1, 9)
    assert pair.p == pytest.approx(22 / 1024)
    assert pair.p_holm == pytest.approx(22 / 1024)


def test_holm_multiplies_the_smallest_p_by_the_number_of_pairs() -> None:
    base = np.array([True] * 10 + [False] * 10)
    better = np.array([True] * 20)
    pairs = {(pair.first, pair.second): pair for pair in compare_pairs({"a": base, "b": base.copy(), "c": better})}
    assert pairs["a", "b"].p == 1
    assert pairs["a", "c"].p == pytest.approx(2 / 1024)
    assert pairs["a", "c"].p_holm == pytest.approx(3 * 2 / 1024)


def test_under_the_null_small_p_are_no_more_frequent_than_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.collect", lambda *_: 0)  # statsmodels calls it each time, which takes most of a second here
    random = np.random.default_rng(0)
    p = [compare_pairs({"a": random.random(200) < 0.8, "b": random.random(200) < 0.8})[0].p for _ in range(300)]
    assert np.mean(np.array(p) < 0.05) < 0.08
    assert np.mean(np.array(p) < 0.5) > 0.35
