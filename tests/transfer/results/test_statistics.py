"""Tests of transfer/results/statistics.py, on cases with known answers."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from transfer.evaluation.scores import f1
from transfer.results.statistics import (
    binomial_interval,
    compare_pairs,
    f1_interval,
    mcnemar_p,
    mean_interval,
)


def test_accuracy_interval_is_close_to_the_binomial_one() -> None:
    interval = mean_interval(np.array([0.0] * 80 + [1.0] * 320), 4000, 1)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert interval.low == pytest.approx(0.8 - half, abs=0.006)
    assert interval.high == pytest.approx(0.8 + half, abs=0.006)


def test_intervals_are_the_same_for_the_same_seed() -> None:
    labels, predicted = np.array([0, 1] * 50), np.array([0, 1, 1, 1] * 25)
    right = (labels == predicted).astype(np.float64)
    assert mean_interval(right, 200, 3) == mean_interval(right, 200, 3)
    one = f1_interval(labels, predicted, 2, 1, 500, 3)
    assert one == f1_interval(labels, predicted, 2, 1, 500, 3)
    assert one.low < 0.8 < one.high  # F1: 50 hits, 25 false alarms


def test_mcnemar_is_the_binomial_test_of_the_disagreements() -> None:
    """Nine images only the second has right, one only the first: p = 2 (1 + 10) / 2^10."""
    first = np.array([True] * 5 + [True] + [False] * 9)
    second = np.array([True] * 5 + [False] + [True] * 9)
    (pair,) = compare_pairs({"a": first, "b": second}, 100, 1)
    assert (pair.only_first, pair.only_second) == (1, 9)
    assert pair.p == pytest.approx(22 / 1024)
    assert pair.p_holm == pytest.approx(22 / 1024)


def test_holm_multiplies_the_smallest_p_by_the_number_of_pairs() -> None:
    base = np.array([True] * 10 + [False] * 10)
    better = np.array([True] * 20)
    compared = compare_pairs({"a": base, "b": base.copy(), "c": better}, 100, 1)
    pairs = {(pair.first, pair.second): pair for pair in compared}
    assert pairs["a", "b"].p == 1
    assert pairs["a", "c"].p == pytest.approx(2 / 1024)
    assert pairs["a", "c"].p_holm == pytest.approx(3 * 2 / 1024)


def test_mcnemar_of_the_textbook() -> None:
    """Approval of a prime minister, asked twice (Agresti, Categorical Data Analysis, chapter 10): of 1,600, 150 changed
    from yes to no and 86 from no to yes, z^2 = 17.36. Exactly, p is twice the binomial tail."""
    assert mcnemar_p(150, 86) == pytest.approx(2 * stats.binom.cdf(86, 236, 0.5))
    assert mcnemar_p(150, 86) == pytest.approx(stats.chi2.sf(17.36, 1), rel=0.3)
    assert mcnemar_p(0, 0) == 1


def _null(random: np.random.Generator, images: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two models that are right on 80 % of the images, mostly the same ones."""
    hard = random.random(images) < 0.6
    return tuple(np.where(hard, random.random(images) < 2 / 3, True) for _ in range(2))  # type: ignore[return-value]


def _exact_p(only_first: int, disagreements: int) -> float:
    fewer = min(only_first, disagreements - only_first)
    return min(1.0, 2 * float(stats.binom.cdf(fewer, disagreements, 0.5)))


def test_mcnemar_rejects_under_the_null_as_often_as_a_discrete_test_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the number of disagreements, how often p can be at most a level is known: never more often than it says."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)  # statsmodels calls it each time, which takes most of a second here
    random = np.random.default_rng(0)
    p, disagreements = [], []
    for _ in range(1000):
        first, second = _null(random, 200)
        p.append(mcnemar_p(int(np.sum(first & ~second)), int(np.sum(~first & second))))
        disagreements.append(int(np.sum(first != second)))
    attainable = {n: [(_exact_p(k, n), stats.binom.pmf(k, n, 0.5)) for k in range(n + 1)] for n in set(disagreements)}
    for level in (0.01, 0.05, 0.2, 0.5):
        sizes = np.array([sum(mass for value, mass in attainable[n] if value <= level) for n in disagreements])
        assert (sizes <= level + 1e-12).all()
        excess = np.sum(np.array(p) <= level) - sizes.sum()
        assert abs(excess) < 3.3 * np.sqrt(np.sum(sizes * (1 - sizes))), (level, excess)


def test_the_interval_of_a_difference_is_paired() -> None:
    """Under the null it covers 0 in 95 of 100 data sets; as if the models had seen different images it would in 99."""
    random = np.random.default_rng(0)
    covered = []
    for seed in range(600):
        first, second = _null(random, 200)
        interval = mean_interval(second.astype(np.float64) - first, 300, seed)
        covered.append(interval.low <= 0 <= interval.high)
    assert 0.92 < np.mean(covered) < 0.98


def test_the_interval_of_a_difference_is_close_to_the_normal_one() -> None:
    """Of n images b only the first has right, c only the second: the variance is (b + c - (b - c)^2 / n) / n^2."""
    first, second = np.array([True] * 30 + [False] * 70 + [True] * 300), np.array([False] * 30 + [True] * 370)
    half = 1.96 * math.sqrt((30 + 70 - 40**2 / 400) / 400**2)
    interval = mean_interval(second.astype(np.float64) - first, 4000, 1)
    assert interval.low == pytest.approx(0.1 - half, abs=0.005)
    assert interval.high == pytest.approx(0.1 + half, abs=0.005)
    (pair,) = compare_pairs({"a": first, "b": second}, 4000, 1)
    assert pair.difference == pytest.approx(0.1)
    assert (pair.low, pair.high) == (interval.low, interval.high)
    alike = mean_interval(np.zeros(400), 100, 1)
    assert (alike.low, alike.high) == (0, 0)


def test_the_exact_interval_is_that_of_scipy_and_of_clopper_and_pearson() -> None:
    for right, images in ((0, 1), (1, 1), (7, 10), (30, 30), (0, 12)):
        expected = stats.binomtest(right, images).proportion_ci(0.95, "exact")
        found = binomial_interval(right, images)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert binomial_interval(1, 1).low == pytest.approx(0.025)


def test_the_exact_interval_covers_whatever_the_true_accuracy_is() -> None:
    intervals = [binomial_interval(right, 25) for right in range(26)]
    for true in np.linspace(0.02, 0.98, 49):
        covering = [right for right, interval in enumerate(intervals) if interval.low <= true <= interval.high]
        assert stats.binom.pmf(covering, 25, true).sum() >= 0.95


def test_a_class_that_a_resample_leaves_out_does_not_count_as_missed() -> None:
    """Of 200 classes with two images each, a resample lacks a seventh: that is no error of the model."""
    labels = np.arange(400) % 200
    perfect = f1_interval(labels, labels, 200, None, 100, 1)
    assert (perfect.low, perfect.high) == (1, 1)
    predicted = np.where(np.arange(400) % 10 == 0, (labels + 1) % 200, labels)
    found = f1_interval(labels, predicted, 200, None, 100, 1)
    assert found.low < f1(labels, predicted, 200, None) < found.high
