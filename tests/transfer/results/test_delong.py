"""Tests of transfer/results/delong.py: the example and the formulas of the paper, and what happens under the null."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from transfer.results.delong import area_interval, compare_areas, placements

Reals = NDArray[np.float64]

OVARIAN = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1 3.7 6.7 6 1
3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0 3.5 5.8 6 1
3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1
3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1
3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""
"""The patients of DeLong et al. 1988, as SAS/STAT prints those without a missing value (User's Guide, the procedure
LOGISTIC, "Comparing Receiver Operating Characteristic Curves"): albumin, total protein, K-G score, and 1 for an
operation that was of use. K-G is greater for the worse, so that 10 - K-G is scored."""


@pytest.fixture(autouse=True)
def _no_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.collect", lambda *_: 0)  # statsmodels calls it each time, which takes most of a second here


def _ovarian() -> tuple[NDArray[np.bool_], dict[str, Reals]]:
    albumin, protein, score, useful = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    return useful == 1, {"K-G": 10 - score, "albumin": albumin, "protein": protein}


def test_areas_and_errors_of_the_example_of_the_paper() -> None:
    """As SAS prints them: K-G 0.7258 with a standard error of 0.1028, albumin 0.7366, 0.0927, protein 0.6478, 0.1."""
    positive, scores = _ovarian()
    found = {name: placements(positive, values) for name, values in scores.items()}
    expected = {"K-G": (0.7258, 0.1028), "albumin": (0.7366, 0.0927), "protein": (0.6478, 0.1000)}
    for name, (area, error) in expected.items():
        assert found[name].area == pytest.approx(area, abs=5e-5)
        assert found[name].error() == pytest.approx(error, abs=5e-5)


def test_the_contrast_of_the_example_of_the_paper() -> None:
    """Both other tests against K-G at once, as SAS has it: chi-square 2.5340 with 2 degrees of freedom, p = 0.2817."""
    positive, scores = _ovarian()
    parts = {name: placements(positive, values) for name, values in scores.items()}
    albumin, protein = (parts[name].minus(parts["K-G"]) for name in ("albumin", "protein"))
    of_cases = np.cov(albumin.cases, protein.cases) / len(albumin.cases)
    shared = of_cases + np.cov(albumin.controls, protein.controls) / len(albumin.controls)
    differences = np.array([albumin.area, protein.area])
    chi_square = differences @ np.linalg.solve(shared, differences)
    assert chi_square == pytest.approx(2.5340, abs=5e-5)
    assert stats.chi2.sf(chi_square, 2) == pytest.approx(0.2817, abs=5e-5)
    pairs = {(pair.first, pair.second): pair for pair in compare_areas(positive, scores)}
    for name, part, row in (("albumin", albumin, 0), ("protein", protein, 1)):
        pair = pairs["K-G", name]
        assert pair.difference == pytest.approx(part.area)
        half = 1.959964 * np.sqrt(shared[row, row])
        assert (pair.low, pair.high) == pytest.approx((part.area - half, part.area + half), abs=1e-6)
        assert pair.p == pytest.approx(stats.chi2.sf((part.area / np.sqrt(shared[row, row])) ** 2, 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), min_size=6, max_size=40).filter(
        lambda rows: 2 <= sum(row[0] for row in rows) <= len(rows) - 2
    )
)
def test_midranks_give_what_all_pairs_give(rows: list[tuple[bool, int, int]]) -> None:
    """The kernel of DeLong et al. 1988, equation 1, written out for each pair of a case and a control, ties and all."""
    positive = np.array([row[0] for row in rows])
    one, other = (np.array([row[column] for row in rows], float) for column in (1, 2))
    components = []
    for scores in (one, other):
        cases, controls = scores[positive][:, None], scores[~positive][None]
        kernel = (cases > controls) + 0.5 * (cases == controls)
        components.append((kernel.mean(axis=1), kernel.mean(axis=0)))
        found = placements(positive, scores)
        np.testing.assert_allclose(found.cases, components[-1][0])
        np.testing.assert_allclose(found.controls, components[-1][1])
        assert found.area == pytest.approx(roc_auc_score(positive, scores))
    (pair,) = compare_areas(positive, {"one": one, "other": other})
    covariances = [np.cov(components[0][i], components[1][i]) / len(components[0][i]) for i in (0, 1)]
    contrast = np.array([-1.0, 1.0])
    variance = contrast @ (covariances[0] + covariances[1]) @ contrast
    assert (pair.high - pair.low) / 2 == pytest.approx(1.959964 * np.sqrt(max(variance, 0)), abs=1e-6)


def _null(random: np.random.Generator, models: int, shift: float = 1.0) -> tuple[NDArray[np.bool_], dict[str, Reals]]:
    """Scores of models that are equally good and err on the same images: half of their noise is shared."""
    positive = np.arange(150) < 50
    shared = random.normal(size=150)
    noise = random.normal(size=(models, 150))
    scores = shift * positive + np.sqrt(0.5) * shared + np.sqrt(0.5) * noise
    return positive, {str(i): row for i, row in enumerate(scores)}


def test_p_is_uniform_under_the_null() -> None:
    random = np.random.default_rng(0)
    p = np.array([compare_areas(*_null(random, 2))[0].p for _ in range(1000)])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    for level in (0.01, 0.05, 0.2):
        rejected = int(np.sum(p < level))
        assert stats.binomtest(rejected, len(p), level).pvalue > 0.001, (level, rejected)


def test_holm_keeps_the_error_of_all_pairs_together() -> None:
    random = np.random.default_rng(1)
    families = [compare_areas(*_null(random, 4)) for _ in range(400)]
    any_corrected = sum(min(pair.p_holm for pair in family) < 0.05 for family in families)
    any_alone = sum(min(pair.p for pair in family) < 0.05 for family in families)
    assert stats.binomtest(any_corrected, 400, 0.05, alternative="greater").pvalue > 0.001
    assert any_alone > 0.1 * 400  # six looks without a correction
    for family in families[:50]:
        ordered = sorted(pair.p for pair in family)
        steps = np.maximum.accumulate([min(1, (6 - i) * p) for i, p in enumerate(ordered)])  # Holm 1979
        np.testing.assert_allclose(sorted(pair.p_holm for pair in family), steps)


def test_the_interval_covers_the_true_area() -> None:
    """Two normal populations one standard deviation apart have an area of Phi(1 / sqrt 2)."""
    random, true = np.random.default_rng(2), stats.norm.cdf(1 / np.sqrt(2))
    intervals = [area_interval(positive, scores["0"]) for positive, scores in (_null(random, 1) for _ in range(1000))]
    covered = sum(interval.low <= true <= interval.high for interval in intervals)
    assert 0.93 < covered / 1000 < 0.97


def test_the_interval_of_a_large_area_covers_it_with_few_images() -> None:
    """Without the logit, the interval of an area of 0.94 held it in 85 % of samples of 50."""
    random, true, covered = np.random.default_rng(3), stats.norm.cdf(2.2 / np.sqrt(2)), 0
    positive = np.arange(50) < 16
    for _ in range(1000):
        interval = area_interval(positive, random.normal(size=50) + 2.2 * positive)
        covered += interval.low <= true <= interval.high
    assert 0.92 < covered / 1000 < 0.97


def test_a_true_difference_is_found() -> None:
    positive, scores = _null(np.random.default_rng(3), 2)
    (pair,) = compare_areas(positive, {"noise": scores["0"] - positive, "good": scores["1"]})
    assert pair.difference > 0.15
    assert pair.low > 0
    assert pair.p < 0.001


def test_models_without_a_difference_or_without_an_error() -> None:
    positive = np.array([True, True, False, False])
    perfect, wrong = np.array([0.9, 0.8, 0.2, 0.1]), np.array([0.1, 0.2, 0.8, 0.9])
    (same,) = compare_areas(positive, {"a": perfect, "b": perfect**2})
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    (opposite,) = compare_areas(positive, {"a": wrong, "b": perfect})
    assert opposite.difference == 1
    assert opposite.p == pytest.approx(2 / 6)  # by chance once in six, and likewise reversed
    (constant,) = compare_areas(np.arange(40) < 20, {"a": np.zeros(40), "b": -np.arange(40.0)})
    assert constant.p == pytest.approx(2 / 137846528820)
    interval = area_interval(positive, perfect)
    assert (interval.low, interval.high) == (1, 1)


def test_with_one_image_of_a_class_nothing_is_compared() -> None:
    assert compare_areas(np.array([True, False, False]), {"a": np.arange(3.0), "b": np.arange(3.0)}) == []
