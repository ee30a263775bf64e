"""How good predictions are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics

from transfer.core.arrays import Floats, Labels

MOST_MISTAKES = 6
"""Of a model's, those that are drawn and listed."""
MANY_CLASSES = 20
"""More classes than these get one ROC and one precision-recall curve together, and not one each."""
DEFAULT_THRESHOLD = 0.5  # the more likely of two classes
DIGITS = 4  # that metrics are written with
CURVE_POINTS = 1000  # at most so many of a curve over many classes are kept, more than a plot can show


@dataclass(frozen=True)
class Predictions:
    """Predictions for a split: image names, true class numbers (n,), soft labels (n,), NaN where there is none, weights
    (n,), probabilities (n, classes).
    """

    images: list[str]
    labels: Labels
    soft_labels: Floats
    confidence: Floats
    probabilities: Floats

    @property
    def predicted(self) -> Labels:
        """The most likely class of each image, int64 (n,)."""
        classes: Labels = np.argmax(self.probabilities, axis=1)
        return classes

    def accuracy(self) -> float:
        """Return the fraction of the images that are classified rightly."""
        return float(np.mean(self.predicted == self.labels))


def f1(labels: Labels, predicted: Labels, classes: int, positive: int | None) -> NDArray[np.float64]:
    """Return F1 over the last axis: of the positive class, or without one the mean over the classes.

    F1 is 2 TP / (2 TP + FP + FN). A class that is neither there nor predicted has none and is left out of the mean; a
    resample of the bootstrap lacks many where classes are small. All as scikit-learn has it, of many resamples at a
    time.
    """
    hits = _counts(np.where(labels == predicted, labels, classes), classes)
    total = _counts(labels, classes) + _counts(predicted, classes)
    scores: NDArray[np.float64] = 2 * hits / np.maximum(total, 1)
    if positive is not None:
        return scores[..., positive]
    mean: NDArray[np.float64] = scores.sum(axis=-1) / np.maximum((total > 0).sum(axis=-1), 1)
    return mean


def _counts(numbers: Labels, classes: int) -> Labels:
    """Count the numbers below `classes` along the last axis, (…, n) to (…, classes). `classes` itself is left out."""
    rows = numbers.reshape(-1, numbers.shape[-1])
    bins = classes + 1
    apart = rows + bins * np.arange(len(rows))[:, None]
    counts = np.bincount(apart.ravel(), minlength=bins * len(rows))
    return counts.reshape(*numbers.shape[:-1], bins)[..., :classes]


def score(test: Predictions, classes: int, positive: int | None, alternative: float | None = None) -> dict[str, float]:
    """Score the test split.

    Args:
        test: the predictions.
        classes: how many there are.
        positive: number of the positive class, where there are two and one of them is.
        alternative: another threshold of the soft label, for `weighted_alternative`.

    Returns:
        accuracy; weighted, the accuracy with each image's confidence as its weight; weighted_alternative, the same with
        the class that the other threshold gives (only where there is one); f1 of the positive class (where there is
        none, the mean over the classes); f1_macro; precision and recall of the positive class (only where there is
        one); auc, the area under the ROC curve (more than two classes: each against the rest, mean); auc_weighted, the
        same with each image's confidence as its weight; log_loss (natural logarithm, mean over images).
    """
    scores = {"accuracy": test.accuracy(), "weighted": _weighted(test, test.labels)}
    if alternative is not None:
        scores["weighted_alternative"] = _weighted(test, labels_above(test.soft_labels, alternative))
    scores["f1"] = float(f1(test.labels, test.predicted, classes, positive))
    scores["f1_macro"] = float(f1(test.labels, test.predicted, classes, None))
    if positive is not None:
        of_class = called_scores(test.labels == positive, test.predicted == positive)
        scores |= {"precision": of_class["precision"], "recall": of_class["recall"]}
    scores["auc"] = _area(test, classes, positive, None)
    scores["auc_weighted"] = _area(test, classes, positive, test.confidence)
    loss = metrics.log_loss(test.labels, sum_to_one(test.probabilities), labels=np.arange(classes))
    return scores | {"log_loss": float(loss)}


def _area(test: Predictions, classes: int, positive: int | None, weights: Floats | None) -> float:
    if classes == 2:
        counted = 1 if positive is None else positive
        truth, probability = test.labels == counted, test.probabilities[:, counted]
        return float(metrics.roc_auc_score(truth, probability, sample_weight=weights))
    given = sum_to_one(test.probabilities)
    present = np.unique(test.labels if weights is None else test.labels[weights > 0])  # others have no curve
    areas = [
        metrics.roc_auc_score(test.labels == number, given[:, number], sample_weight=weights) for number in present
    ]
    return float(np.mean(areas))


def labels_above(soft_labels: Floats, threshold: float) -> Labels:
    """Return 1 where a soft label is above the threshold, else 0, both as the float32 that records keep."""
    labels: Labels = (soft_labels > np.float32(threshold)).astype(np.int64)
    return labels


def _weighted(test: Predictions, labels: Labels) -> float:
    return float(np.average(test.predicted == labels, weights=test.confidence))


def called_scores(positive: NDArray[np.bool_], called: NDArray[np.bool_]) -> dict[str, float]:
    """Score a decision between two classes.

    Args:
        positive: whether each image is of the positive class, (n,).
        called: whether each is taken for it, (n,).

    Returns:
        accuracy; precision, recall and f1 of the positive class, 0 where they are 0 / 0.
    """
    precision, recall, score, _ = metrics.precision_recall_fscore_support(
        positive, called, average="binary", zero_division=0
    )
    accuracy = np.mean(positive == called)
    return {"accuracy": float(accuracy), "precision": float(precision), "recall": float(recall), "f1": float(score)}


def choose_threshold(positive: NDArray[np.bool_], probability: NDArray[Any]) -> float:
    """Return the threshold above which a probability is best taken for the positive class: that of the highest F1.

    It is looked for among 0.5 and the midpoints between probabilities that are neighbours in size, the lowest of which
    is the one between 0 and the smallest, all rounded to `DIGITS`, so that a threshold read from the metrics
    decides as the one chosen did. Of several with the same F1 it is the one nearest to 0.5, and of two as near the
    lower one.

    Args:
        positive: whether each image is of the positive class, (n,).
        probability: that it is, (n,).
    """
    probability = probability.astype(np.float64)
    ordered = np.unique(np.concatenate([[0.0], probability]))
    midpoints = (ordered[:-1] + ordered[1:]) / 2
    thresholds = np.unique(np.concatenate([midpoints, [DEFAULT_THRESHOLD]]).round(DIGITS))
    called = len(probability) - np.searchsorted(np.sort(probability), thresholds, side="right")
    hits = np.sum(positive) - np.searchsorted(np.sort(probability[positive]), thresholds, side="right")
    # The F1 of two thresholds is equal as a fraction, and nearly so as a float.
    scores = (2 * hits / np.maximum(np.sum(positive) + called, 1)).round(12)
    best = thresholds[scores == scores.max()]
    return float(best[np.argmin(np.abs(best - DEFAULT_THRESHOLD).round(12))])


def operating_point(validation: Predictions, test: Predictions, positive: int) -> dict[str, float]:
    """Choose the threshold of the positive class's probability on the validation split, and score the test split at it.

    Both splits have calibrated probabilities.

    Returns:
        threshold; accuracy, precision, recall and f1 of the test split at it, named …_at_threshold.
    """
    threshold = choose_threshold(validation.labels == positive, validation.probabilities[:, positive])
    called = test.probabilities[:, positive].astype(np.float64) > threshold
    scores = called_scores(test.labels == positive, called)
    return {"threshold": threshold, **{f"{name}_at_threshold": value for name, value in scores.items()}}


def sum_to_one(probabilities: Floats) -> NDArray[np.float64]:
    """Return probabilities (n, classes) as float64 that sum to 1: float32 ones do nearly, and scikit-learn insists."""
    exact = probabilities.astype(np.float64)
    normalised: NDArray[np.float64] = exact / exact.sum(axis=1, keepdims=True)
    return normalised


def predictions_table(test: Predictions, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return a row for each image: image, actual and predicted class, weight, probability of each class.

    Probabilities have six digits behind the zeros, so that those of a model that is very sure keep their order.
    """
    table = pd.DataFrame(
        {
            "image": test.images,
            "actual": [classes[label] for label in test.labels],
            "predicted": [classes[label] for label in test.predicted],
            "weight": np.round(test.confidence.astype(np.float64), 6),
        }
    )
    for number, name in enumerate(classes):
        table[f"p_{name}"] = [float(f"{value:.6g}") for value in test.probabilities[:, number]]
    return table


def curves(test: Predictions, classes: tuple[str, ...], positive: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the ROC curve (class, false_positive_rate, true_positive_rate) and precision-recall curve (class, recall,
    precision): of the positive class, or without one of each class against the rest; of many classes, one curve over
    all their decisions (the micro-average).
    """
    if positive is not None:
        cases = {classes[positive]: (test.labels == positive, test.probabilities[:, positive])}
    elif len(classes) <= MANY_CLASSES:
        cases = {name: (test.labels == i, test.probabilities[:, i]) for i, name in enumerate(classes)}
    else:
        truth = test.labels[:, None] == np.arange(len(classes))
        cases = {"all": (truth.ravel(), test.probabilities.ravel())}
    roc, precision_recall = [], []
    for name, (truth, probability) in cases.items():
        false_rate, true_rate, _ = metrics.roc_curve(truth, probability)
        precision, recall, _ = metrics.precision_recall_curve(truth, probability, drop_intermediate=True)
        columns = {"class": name, "false_positive_rate": false_rate, "true_positive_rate": true_rate}
        roc.append(_thinned(pd.DataFrame(columns)))
        precision_recall.append(_thinned(pd.DataFrame({"class": name, "recall": recall, "precision": precision})))
    return pd.concat(roc).round(6), pd.concat(precision_recall).round(6)


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """Keep points at equal distances along a curve of too many, its ends included."""
    if len(curve) <= CURVE_POINTS:
        return curve
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int))]


def classification_report(test: Predictions, classes: tuple[str, ...]) -> str:
    """Return precision, recall and F1 by class, and the confusion matrix, as text."""
    numbers = np.arange(len(classes))
    report = metrics.classification_report(
        test.labels, test.predicted, labels=numbers, target_names=classes, digits=3, zero_division=0
    )
    matrix = metrics.confusion_matrix(test.labels, test.predicted, labels=numbers)
    table = pd.DataFrame(matrix, index=[f"actual {name}" for name in classes], columns=list(classes))
    return f"{report}\nConfusion matrix (rows: actual, columns: predicted)\n\n{table.to_string()}\n"
