"""Areas under ROC curves of models that saw the same images: their intervals, and tests of their differences.

After E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson: Comparing the areas under two or more correlated receiver
operating characteristic curves: a nonparametric approach. Biometrics 44 (1988) 837-845.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from transfer.results.statistics import CONFIDENCE, Interval

Reals = NDArray[np.float64]
LEAST = 2  # images of either class that a variance needs
QUANTILE = float(stats.norm.ppf((1 + CONFIDENCE) / 2))  # standard errors to either side that hold 95 %


@dataclass(frozen=True)
class Placements:
    """The structural components of an area (DeLong et al. 1988, equations 4 and 5).

    Args:
        cases: of each positive image, the share of the negative ones that score lower, ties counted half: V10, (m,).
        controls: of each negative image, the share of the positive ones that score higher, likewise: V01, (n,).
    """

    cases: Reals
    controls: Reals

    @property
    def area(self) -> float:
        """The area under the ROC curve: the mean of either."""
        return float(np.mean(self.cases))

    def minus(self, other: "Placements") -> "Placements":
        """Return the components of the difference of two areas on the same images."""
        return Placements(self.cases - other.cases, self.controls - other.controls)

    def error(self) -> float:
        """Return the standard error of the area, or of the difference of two (DeLong et al. 1988, equation 6)."""
        variances = (np.var(part, ddof=1) / len(part) for part in (self.cases, self.controls))
        return math.sqrt(sum(variances))


def placements(positive: NDArray[np.bool_], scores: Reals) -> Placements:
    """Compute the components from midranks, in n log n (Sun and Xu, IEEE Signal Processing Letters 21 (2014) 1389).

    Args:
        positive: whether each image is of the positive class, (n,).
        scores: greater for what is more likely positive, (n,).
    """
    cases, controls = scores[positive], scores[~positive]
    pooled = stats.rankdata(np.concatenate([cases, controls]))
    above = (pooled[: len(cases)] - stats.rankdata(cases)) / len(controls)
    below = (pooled[len(cases) :] - stats.rankdata(controls)) / len(cases)
    return Placements(above, 1 - below)


def enough(positive: NDArray[np.bool_]) -> bool:
    """Say whether there are images enough of either class for a variance."""
    return min(int(np.sum(positive)), int(np.sum(~positive))) >= LEAST


def area_interval(positive: NDArray[np.bool_], scores: Reals) -> Interval:
    """Return the 95 % interval of an area by DeLong's variance, normal on the logit scale (Pepe 2003, section 5.2).

    On the plain scale the interval of an area of 0.94 from 50 images holds it in 85 % of samples, on this one in 93 %.
    An area of 0 or 1 has an interval of no width.

    Args:
        positive: (n,), with `enough` images of either class.
        scores: (n,).
    """
    parts = placements(positive, scores)
    spread = parts.area * (1 - parts.area)
    if spread == 0:
        return Interval(parts.area, parts.area)
    middle, half = special.logit(parts.area), QUANTILE * parts.error() / spread
    return Interval(float(special.expit(middle - half)), float(special.expit(middle + half)))


@dataclass(frozen=True)
class AreaComparison:
    """The area of the second model less that of the first, on the same images, with its 95 % interval.

    `p` is that of DeLong's test, two-sided; `p_holm` is corrected for the number of pairs compared.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


def compare_areas(positive: NDArray[np.bool_], scores: Mapping[str, Reals]) -> list[AreaComparison]:
    """Compare every two models by DeLong's test with Holm's correction (Holm 1979), where images are `enough`.

    `positive` says whether each image is of the positive class, (n,); `scores` are each model's, (n,).
    """
    if not enough(positive):
        return []
    parts = {model: placements(positive, values) for model, values in scores.items()}
    rows = []
    for first, second in itertools.combinations(parts, 2):
        between = parts[second].minus(parts[first])
        difference, error = between.area, between.error()
        half = QUANTILE * error
        p = _two_sided(difference, error, positive)
        rows.append((first, second, difference, difference - half, difference + half, p))
    corrected = multipletests([row[-1] for row in rows], method="holm")[1]
    return [AreaComparison(*row, float(p_holm)) for row, p_holm in zip(rows, corrected, strict=True)]


def _two_sided(difference: float, error: float, positive: NDArray[np.bool_]) -> float:
    """Return p of a normal difference. Without any spread, where one model sorts the classes without an error and the
    other says nothing or the reverse, it is that of the exact permutation test: of all ways to label as many images,
    the one found and its reverse are as extreme.
    """
    if error == 0:
        ways = float(special.comb(len(positive), int(np.sum(positive))))
        return 1.0 if difference == 0 else min(1.0, 2 / ways)
    return float(2 * stats.norm.sf(abs(difference) / error))
