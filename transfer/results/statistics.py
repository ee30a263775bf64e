"""How far differences between models can be trusted."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from transfer.core.arrays import Labels
from transfer.evaluation.scores import f1

CONFIDENCE = 0.95
BLOCK = 100  # resamples computed at a time: bounds the memory


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def mean_interval(values: NDArray[np.float64], resamples: int, seed: int) -> Interval:
    """Return the 95 % percentile bootstrap interval of a mean over images (Efron and Tibshirani 1993, chapter 13).

    Of the accuracy, where the values (n,) are 1 for an image that is right and 0 for another. Of the difference of two
    accuracies, where they are those of the second model less those of the first: that is paired, and images that both
    have right, or both wrong, widen nothing.
    """
    return _percentile((values,), lambda values, axis: np.mean(values, axis=axis), resamples, seed)


def binomial_interval(right: int, images: int) -> Interval:
    """Return the exact 95 % interval of an accuracy (Clopper and Pearson 1934), which holds for a single image, too.

    Args:
        right: how many images are classified rightly.
        images: how many there are, 1 or more.
    """
    return Interval(*map(float, proportion_confint(right, images, alpha=1 - CONFIDENCE, method="beta")))


def f1_interval(
    labels: Labels, predicted: Labels, classes: int, positive: int | None, resamples: int, seed: int
) -> Interval:
    """Return the 95 % percentile bootstrap interval of F1 (see `scores.f1`), images drawn with replacement."""

    def statistic(true: Labels, called: Labels, axis: int) -> NDArray[np.float64]:
        assert axis == -1, "or SciPy has changed"
        return f1(true, called, classes, positive)

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
    return Interval(*map(float, result.confidence_interval))


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images: how many only one of them has right, and what that says.

    `difference` is the accuracy of the second less that of the first, `low` and `high` are the ends of its 95 %
    interval (see `mean_interval`). `p` is that of the exact McNemar test, two-sided; `p_holm` is corrected for
    the number of pairs compared. The intervals are not: each is that of one pair looked at alone.
    """

    first: str
    second: str
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


def compare_pairs(right: dict[str, NDArray[np.bool_]], resamples: int, seed: int) -> list[Comparison]:
    """Compare every two models by the exact McNemar test (McNemar 1947) with Holm's correction (Holm 1979).

    Args:
        right: for each model whether it has each test image right; all in the same order.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    rows = []
    for first, second in itertools.combinations(right, 2):
        gains = right[second].astype(np.float64) - right[first]
        only_first, only_second = int(np.sum(gains < 0)), int(np.sum(gains > 0))
        interval = mean_interval(gains, resamples, seed)
        difference = (only_second - only_first) / len(gains)
        rows.append((first, second, only_first, only_second, difference, *interval, mcnemar_p(only_first, only_second)))
    corrected = multipletests([row[-1] for row in rows], method="holm")[1]
    return [Comparison(*row, float(p_holm)) for row, p_holm in zip(rows, corrected, strict=True)]


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return p of the exact McNemar test, two-sided, which looks at the disagreements alone; 1 where there is none."""
    if only_first + only_second == 0:
        return 1.0
    return float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)
