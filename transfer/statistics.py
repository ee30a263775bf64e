"""How far differences between models can be trusted."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from transfer.scores import Labels, f1

CONFIDENCE = 0.95
BLOCK = 100  # resamples computed at a time: bounds the memory


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


def accuracy_interval(labels: Labels, predicted: Labels, resamples: int, seed: int) -> Interval:
    """Return the 95 % percentile bootstrap interval of the accuracy (Efron and Tibshirani 1993, chapter 13)."""
    right = (labels == predicted).astype(np.float64)
    return _percentile((right,), lambda values, axis: np.mean(values, axis=axis), resamples, seed)


def f1_interval(
    labels: Labels, predicted: Labels, classes: int, positive: int | None, resamples: int, seed: int
) -> Interval:
    """Return the 95 % percentile bootstrap interval of F1 (see `scores.f1`), images drawn with replacement."""

    def statistic(true: Labels, called: Labels, axis: int) -> NDArray[np.float64]:
        return f1(true, called, classes, positive, axis)

    return _percentile((labels, predicted), statistic, resamples, seed)


def _percentile(data: tuple[NDArray[Any], ...], statistic: Callable[..., Any], resamples: int, seed: int) -> Interval:
    result = stats.bootstrap(
        data,
        statistic,
        n_resamples=resamples,
        batch=BLOCK,
        paired=len(data) > 1,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images: how many only one of them has right, and what that says.

    `p` is that of the exact McNemar test, two-sided; `p_holm` is corrected for the number of pairs compared.
    """

    first: str
    second: str
    only_first: int
    only_second: int
    p: float
    p_holm: float


def compare_pairs(right: dict[str, NDArray[np.bool_]]) -> list[Comparison]:
    """Compare every two models by the exact McNemar test (McNemar 1947) with Holm's correction (Holm 1979).

    Args:
        right: for each model whether it has each test image right; all in the same order.
    """
    counts = []
    for first, second in itertools.combinations(right, 2):
        only_first = int(np.sum(right[first] & ~right[second]))
        only_second = int(np.sum(~right[first] & right[second]))
        table = [[0, only_first], [only_second, 0]]  # the test looks at the disagreements alone
        p = float(mcnemar(table, exact=True).pvalue) if only_first + only_second else 1.0
        counts.append((first, second, only_first, only_second, p))
    corrected = multipletests([row[-1] for row in counts], method="holm")[1]
    return [Comparison(*row, float(p_holm)) for row, p_holm in zip(counts, corrected, strict=True)]
