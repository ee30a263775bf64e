"""What training aims at: the class of each image, or how sure those who labelled it were."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transfer.core.errors import UserError
from transfer.core.params import LabelKind


def require_soft_labels(kind: LabelKind, possible: bool) -> None:
    """Check that the dataset has soft labels, if the param `labels` asks for them.

    Raises:
        UserError: it has none.
    """
    if kind == "soft" and not possible:
        raise UserError(
            "params.yaml: labels: soft, and the dataset has no soft labels; set labels to hard or auto, or name their "
            "column as soft_label in the card's table"
        )


def require_class_weights(wanted: str | dict[str, float], classes: Sequence[str]) -> None:
    """Check that the param `class_weights`, where it names classes, names those of the dataset.

    Raises:
        UserError: a class without a weight, or a weight without a class.
    """
    if isinstance(wanted, dict) and set(wanted) != set(classes):
        raise UserError(
            f"params.yaml: class_weights: the classes are {', '.join(classes)}, and the weights are for "
            f"{', '.join(wanted)}; give each class a weight"
        )


def make_targets(
    labels: NDArray[np.int64], soft_labels: NDArray[np.float32], classes: tuple[str, ...], kind: LabelKind
) -> NDArray[np.float32]:
    """Return a probability of each class for each image, float32 (n, classes).

    Args:
        labels: class numbers, int64 (n,).
        soft_labels: probabilities of the second of two classes, float32 (n,); NaN where an image has none.
        classes: their names.
        kind: "hard" gives 1 to the class and 0 to the others; "soft" gives the soft label to the second class and the
            rest to the first, and an image without one keeps its class; "auto" is soft where that is possible.

    Raises:
        UserError: soft labels are asked for and there are none, or they do not turn to the other class at 0.5: the
            accuracy would then be another one in training than in the end.
    """
    hard = np.eye(len(classes), dtype=np.float32)[labels]
    known = ~np.isnan(soft_labels)
    possible = len(classes) == 2 and bool(known.any())
    if kind == "hard" or (kind == "auto" and not possible):
        return hard
    require_soft_labels(kind, possible)
    soft = hard.copy()
    soft[known] = np.stack([1 - soft_labels[known], soft_labels[known]], axis=1)
    if (other := np.flatnonzero(np.argmax(soft, axis=1) != labels)).size and kind == "soft":
        raise UserError(
            "params.yaml: labels: expected hard, or a dataset whose soft labels have their threshold at 0.5, received "
            f"soft, and {other.size} images like one with soft label {soft_labels[other[0]]:.3g} and class "
            f"{classes[labels[other[0]]]}"
        )
    return hard if other.size else soft
