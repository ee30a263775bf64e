"""How good predictions are."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics

MANY_CLASSES = 20
"""More classes than these get one ROC and one precision-recall curve together, and not one each."""
CURVE_POINTS = 1000  # at most so many of a curve over many classes are kept, more than a plot can show

Array = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """Predictions for a split: image names, true class numbers (n,), weights (n,), probabilities (n, classes)."""

    images: list[str]
    labels: Labels
    confidence: Array
    probabilities: Array

    @property
    def predicted(self) -> Labels:
        """The most likely class of each image, int64 (n,)."""
        classes: Labels = np.argmax(self.probabilities, axis=1)
        return classes

    def accuracy(self) -> float:
        """Return the fraction of the images that are classified rightly."""
        return float(np.mean(self.predicted == self.labels))


def f1(labels: Labels, predicted: Labels, classes: int, positive: int | None, axis: int = -1) -> NDArray[np.float64]:
    """Return F1 along an axis: of the positive class, or without one the mean over the classes.

    F1 is 2 TP / (2 TP + FP + FN), and 0 where that is 0 / 0, as scikit-learn has it; this one takes many resamples at a
    time, for the bootstrap.
    """
    scores = []
    for number in range(classes) if positive is None else [positive]:
        true, called = labels == number, predicted == number
        hits = 2.0 * np.sum(true & called, axis=axis)
        total = np.sum(true, axis=axis) + np.sum(called, axis=axis)
        scores.append(np.where(total > 0, hits / np.maximum(total, 1), 0.0))
    mean: NDArray[np.float64] = np.mean(scores, axis=0)
    return mean


def score(test: Predictions, classes: int, positive: int | None) -> dict[str, float]:
    """Score the test split.

    Returns:
        accuracy; weighted, the accuracy with each image's confidence as its weight; f1 of the positive class (where
        there is none, the mean over the classes); f1_macro; auc, the area under the ROC curve (more than two classes:
        each against the rest, mean); log_loss (natural logarithm, mean over images).
    """
    if classes == 2:
        counted = 1 if positive is None else positive
        area = metrics.roc_auc_score(test.labels == counted, test.probabilities[:, counted])
    else:
        area = metrics.roc_auc_score(test.labels, _sum_to_one(test.probabilities), multi_class="ovr")
    right = test.predicted == test.labels
    return {
        "accuracy": float(np.mean(right)),
        "weighted": float(np.average(right, weights=test.confidence)),
        "f1": float(f1(test.labels, test.predicted, classes, positive)),
        "f1_macro": float(f1(test.labels, test.predicted, classes, None)),
        "auc": float(area),
        "log_loss": float(metrics.log_loss(test.labels, _sum_to_one(test.probabilities), labels=np.arange(classes))),
    }


def _sum_to_one(probabilities: Array) -> NDArray[np.float64]:
    """Float32 probabilities sum to 1 only nearly, and scikit-learn insists."""
    exact = probabilities.astype(np.float64)
    normalised: NDArray[np.float64] = exact / exact.sum(axis=1, keepdims=True)
    return normalised


def predictions_table(test: Predictions, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return a row for each image: image, actual and predicted class, weight, probability of each class."""
    table = pd.DataFrame(
        {
            "image": test.images,
            "actual": [classes[label] for label in test.labels],
            "predicted": [classes[label] for label in test.predicted],
            "weight": np.round(test.confidence.astype(np.float64), 6),
        }
    )
    for number, name in enumerate(classes):
        table[f"p_{name}"] = np.round(test.probabilities[:, number].astype(np.float64), 6)
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
