"""Whether probabilities mean what they say: temperature scaling, calibration error, the reliability diagram.

After C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger: On calibration of modern neural networks. ICML 2017.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn import metrics

from transfer.core.arrays import Labels
from transfer.evaluation.scores import Predictions, sum_to_one

Probabilities = NDArray[np.float64]
BINS = 15
"""Of equal width, as in the tables of Guo et al. 2017."""
COLDEST, HOTTEST = 0.05, 20.0
"""Limits of the search for a temperature. A validation split without an error asks for a temperature of 0, which makes
every probability 0 or 1, and one that is worse than chance for an infinite one, which makes all of them equal."""
NOT_FITTED = 1.0
"""The temperature where the validation split asks for one beyond the limits: it leaves probabilities as they are."""
SMALLEST = float(np.finfo(np.float32).tiny)
"""Probabilities are not taken for smaller: a network's are float32, and one below it is 0, which has no logarithm."""


def temper(probabilities: NDArray[Any], temperature: float) -> Probabilities:
    """Return the softmax of logits divided by a temperature (Guo et al. 2017, equation 9).

    The logarithm of a softmax is its logits but for a constant for each image, which the softmax takes out again, so
    that probabilities are enough.

    Args:
        probabilities: (n, classes).
        temperature: above 0; above 1 makes the probabilities less extreme, 1 leaves them.
    """
    return np.exp(_log_tempered(probabilities, temperature))


def _log_tempered(probabilities: NDArray[Any], temperature: float) -> Probabilities:
    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))
    result: Probabilities = log_softmax(logits / temperature, axis=1)
    return result


def fit_temperature(validation: Predictions) -> float:
    """Return the temperature with the lowest log loss on the validation split, between `COLDEST` and `HOTTEST`.

    The loss is convex in 1 / temperature, so that it has one minimum. Where that is at a limit, or the loss is the same
    up to one (without an error it soon is 0 but for rounding), the split tells no temperature: `NOT_FITTED`.
    """
    images = np.arange(len(validation.labels))

    def loss(log_temperature: float) -> float:
        log_probabilities = _log_tempered(validation.probabilities, float(np.exp(log_temperature)))
        return -float(np.mean(log_probabilities[images, validation.labels]))

    limits = (float(np.log(COLDEST)), float(np.log(HOTTEST)))
    found = minimize_scalar(loss, bounds=limits, method="bounded")
    return NOT_FITTED if min(map(loss, limits)) <= found.fun else float(np.exp(found.x))


def reliability(labels: Labels, probabilities: NDArray[Any]) -> pd.DataFrame:
    """Sort images into bins by their confidence, the probability of the most likely class.

    Bin m of `BINS` holds the images with a confidence in ((m - 1) / BINS, m / BINS] (Guo et al. 2017, section 2).

    Args:
        labels: true class numbers, (n,).
        probabilities: (n, classes).

    Returns:
        A row for each bin, empty ones included: images, mean_confidence and accuracy, the latter two NaN without
        images. The index is the middle of the bin.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.digitize(confidence, edges[1:-1], right=True)
    images = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        columns = {
            "images": images,
            "mean_confidence": np.bincount(bins, confidence, BINS) / images,
            "accuracy": np.bincount(bins, right, BINS) / images,
        }
    return pd.DataFrame(columns, index=pd.Index((edges[:-1] + edges[1:]) / 2, name="confidence"))


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Return ECE, the mean distance between accuracy and confidence over the bins, weighted by their images.

    Guo et al. 2017, equation 3. `table` is what `reliability` gives.
    """
    gaps = (table["accuracy"] - table["mean_confidence"]).abs()
    return float((gaps * table["images"]).sum() / table["images"].sum())


def calibrate(validation: Predictions, test: Predictions) -> tuple[dict[str, float], pd.DataFrame]:
    """Fit a temperature on the validation split, and judge the probabilities of the test split before and after.

    Accuracy is the same before and after, as the order of the classes is.

    Returns:
        temperature; ece and brier before, ece_calibrated, brier_calibrated and log_loss_calibrated after. brier is the
        mean squared error of the probability of one class where there are two, 0 to 1, and summed over the classes
        where there are more, 0 to 2 (Brier 1950).
        The reliability diagram as a table: confidence, the middle of a bin; images, mean_confidence and accuracy in it,
        each _before and _after. Bins that are empty in both are left out.
    """
    temperature = fit_temperature(validation)
    calibrated = temper(test.probabilities, temperature)
    before, after = reliability(test.labels, test.probabilities), reliability(test.labels, calibrated)
    classes = np.arange(calibrated.shape[1])
    scores = {
        "temperature": temperature,
        "ece": expected_calibration_error(before),
        "ece_calibrated": expected_calibration_error(after),
        "brier": metrics.brier_score_loss(test.labels, sum_to_one(test.probabilities), labels=classes),
        "brier_calibrated": metrics.brier_score_loss(test.labels, calibrated, labels=classes),
        "log_loss_calibrated": metrics.log_loss(test.labels, calibrated, labels=classes),
    }
    table = pd.concat([before.add_suffix("_before"), after.add_suffix("_after")], axis=1)
    table = table[(table["images_before"] > 0) | (table["images_after"] > 0)]
    return {name: float(value) for name, value in scores.items()}, table.reset_index().round(6)
