"""Tests of transfer/evaluation/calibration.py: against the definitions and scikit-learn, and on what is calibrated."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss

from transfer.evaluation.calibration import (
    BINS,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    reliability,
    temper,
)
from transfer.evaluation.scores import Predictions

Reals = NDArray[np.float64]


def _predictions(labels: NDArray[np.int64], probabilities: Reals) -> Predictions:
    images, unknown = len(labels), np.full(len(labels), np.nan, np.float32)
    names = [f"{i}.png" for i in range(images)]
    return Predictions(names, labels, unknown, np.ones(images, np.float32), probabilities.astype(np.float32))


def _drawn(random: np.random.Generator, images: int, classes: int, spread: float = 2.0) -> tuple[Predictions, Reals]:
    """Labels drawn by probabilities, which so mean what they say; and the logits of the probabilities."""
    logits = random.normal(0, spread, (images, classes))
    probabilities = softmax(logits, axis=1)
    labels = (random.random((images, 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return _predictions(labels, probabilities), logits


def test_temperature_one_leaves_probabilities_and_two_takes_roots() -> None:
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_allclose(temper(probabilities, 1), probabilities, atol=1e-30)
    np.testing.assert_allclose(temper(probabilities, 2)[0], np.sqrt([0.8, 0.2]) / np.sqrt([0.8, 0.2]).sum())


@pytest.mark.parametrize("classes", [2, 5])
def test_logits_that_were_scaled_are_found_to_be(classes: int) -> None:
    drawn, logits = _drawn(np.random.default_rng(0), 20_000, classes)
    for scale in (0.5, 1.0, 3.0):
        scaled = _predictions(drawn.labels, softmax(scale * logits, axis=1))
        assert fit_temperature(scaled) == pytest.approx(scale, rel=0.05)


class _Logits(ClassifierMixin, BaseEstimator):
    """A trained classifier, for scikit-learn, whose decision is what it is given."""

    def fit(self, logits: Reals, labels: NDArray[np.int64]) -> "_Logits":
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, logits: Reals) -> Reals:
        return logits

    def predict(self, logits: Reals) -> NDArray[np.int64]:
        classes: NDArray[np.int64] = logits.argmax(axis=1)
        return classes


def test_the_temperature_is_that_of_scikit_learn() -> None:
    drawn, logits = _drawn(np.random.default_rng(1), 300, 3)
    sharp = 2.5 * logits
    reference = CalibratedClassifierCV(FrozenEstimator(_Logits().fit(sharp, drawn.labels)), method="temperature")
    expected = reference.fit(sharp, drawn.labels).predict_proba(sharp)
    probabilities = softmax(sharp, axis=1)
    found = temper(probabilities, fit_temperature(_predictions(drawn.labels, probabilities)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_of_calibrated_probabilities_the_gain_of_a_temperature_is_chance() -> None:
    """Under the null, twice the gain in log likelihood is chi-square with one degree of freedom (Wilks 1938)."""
    random = np.random.default_rng(2)
    p = []
    for _ in range(300):
        drawn, _ = _drawn(random, 200, 2)
        tempered = temper(drawn.probabilities, fit_temperature(drawn))
        pair = (temper(drawn.probabilities, 1), tempered)
        before, after = (log_loss(drawn.labels, given, normalize=False) for given in pair)
        p.append(stats.chi2.sf(max(0.0, 2 * (before - after)), 1))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_calibration_error_of_ten_images_by_hand() -> None:
    """Five images at 0.9, of which four are right, and five at 0.7, of which two are: (5 · 0.1 + 5 · 0.3) / 10."""
    confidence = np.array([0.9] * 5 + [0.7] * 5)
    labels = np.array([0, 0, 0, 0, 1, 0, 0, 1, 1, 1])
    table = reliability(labels, np.stack([confidence, 1 - confidence], axis=1))
    assert expected_calibration_error(table) == pytest.approx(0.2)
    assert list(table["images"][table["images"] > 0]) == [5, 5]


@pytest.mark.parametrize("classes", [2, 7])
def test_calibration_error_is_that_of_its_definition(classes: int) -> None:
    """The bins of Guo et al. 2017, section 2, and equation 3, written out."""
    drawn, _ = _drawn(np.random.default_rng(3), 400, classes)
    confidence, right = drawn.probabilities.max(axis=1), drawn.predicted == drawn.labels
    error = 0.0
    for m in range(1, BINS + 1):
        inside = (confidence > (m - 1) / BINS) & (confidence <= m / BINS)
        if inside.any():
            error += inside.sum() / 400 * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(reliability(drawn.labels, drawn.probabilities)) == pytest.approx(error)


def test_a_confidence_on_the_edge_is_in_the_bin_below() -> None:
    table = reliability(np.array([0, 0, 0]), np.array([[0.6, 0.4], [0.60001, 0.39999], [1.0, 0.0]]))
    assert list(np.flatnonzero(table["images"])) == [8, 9, 14]  # 9 / 15 = 0.6


def test_calibration_mends_what_is_too_sure_and_changes_no_class() -> None:
    random = np.random.default_rng(4)
    (validation, first), (test, second) = (_drawn(random, 4000, 3) for _ in range(2))
    sharp = [
        _predictions(one.labels, softmax(3 * logits, axis=1)) for one, logits in ((validation, first), (test, second))
    ]
    scores, table = calibrate(*sharp)
    assert scores["temperature"] == pytest.approx(3, rel=0.1)
    assert scores["ece"] > 0.1
    assert scores["ece_calibrated"] < 0.03
    assert scores["brier_calibrated"] < scores["brier"]
    assert scores["log_loss_calibrated"] == pytest.approx(log_loss(test.labels, softmax(second, axis=1)), abs=0.01)
    one_hot = np.eye(3)[test.labels]
    assert scores["brier"] == pytest.approx(np.mean(np.sum((sharp[1].probabilities - one_hot) ** 2, axis=1)), abs=1e-6)
    assert table["images_before"].sum() == table["images_after"].sum() == 4000
    calibrated = temper(sharp[1].probabilities, scores["temperature"])
    np.testing.assert_array_equal(calibrated.argmax(axis=1), sharp[1].predicted)


def test_of_two_classes_the_brier_score_is_that_of_one() -> None:
    two = _predictions(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    assert calibrate(two, two)[0]["brier"] == pytest.approx((0.1**2 + 0.6**2) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "sure"),
    [
        ([0, 1] * 6, 0.9),  # no error: any lower temperature has a lower loss
        ([0, 1, 0], 0.9993),  # likewise, and from some temperature on the loss is 0 but for rounding
        ([0], 0.9),
        ([1, 0] * 6, 0.9),  # all wrong: any higher one has
    ],
)
def test_a_split_that_no_temperature_can_be_learnt_from_leaves_probabilities_as_they_are(
    labels: list[int], sure: float
) -> None:
    """At a limit of the search, every probability would be 0 or 1, or all would be equal."""
    truth = np.arange(len(labels)) % 2
    given = np.where(truth[:, None] == [0, 1], sure, 1 - sure)
    split = _predictions(np.array(labels), given)
    scores, table = calibrate(split, split)
    assert scores["temperature"] == 1
    assert scores["ece_calibrated"] == pytest.approx(scores["ece"], abs=1e-6)
    assert scores["log_loss_calibrated"] == pytest.approx(
        -np.mean(np.log(given[np.arange(len(labels)), labels])), abs=1e-6
    )
    assert table["mean_confidence_after"].dropna().to_numpy() == pytest.approx([sure], abs=1e-6)


@pytest.mark.parametrize(("classes", "images", "scale"), [(2, 12, 3.0), (3, 60, 0.4), (10, 300, 5.0), (2, 300, 1.0)])
def test_no_temperature_has_a_lower_loss_than_the_one_found(classes: int, images: int, scale: float) -> None:
    drawn, logits = _drawn(np.random.default_rng(7), images, classes)
    split = _predictions(drawn.labels, softmax(scale * logits, axis=1))

    def loss(temperature: float) -> float:
        return float(log_loss(split.labels, temper(split.probabilities, temperature), labels=np.arange(classes)))

    tried = np.geomspace(0.06, 18, 400)
    assert loss(fit_temperature(split)) <= min(map(loss, tried)) + 1e-9


def test_two_hundred_classes_of_which_the_test_split_lacks_some() -> None:
    random = np.random.default_rng(5)
    drawn, _ = _drawn(random, 60, 200)
    scores, _ = calibrate(drawn, drawn)
    assert all(np.isfinite(value) for value in scores.values())
