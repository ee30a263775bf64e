"""What `fit` follows from epoch to epoch besides the loss and the accuracy."""

import keras
from keras import ops

from transfer.core.arrays import Floats


class F1(keras.metrics.F1Score):
    """F1 from logits: of the positive class where there is one, otherwise the mean over the classes.

    A mixed image counts as one of the class that it has most of, as in Keras's accuracy.
    """

    def __init__(self, positive: int | None) -> None:
        super().__init__(average=None if positive is not None else "macro", name="f1")
        self._positive = positive

    def update_state(self, y_true: Floats, y_pred: Floats, sample_weight: Floats | None = None) -> None:
        true, most_likely = (ops.one_hot(ops.argmax(y, axis=-1), y_pred.shape[-1]) for y in (y_true, y_pred))
        super().update_state(true, most_likely, sample_weight)

    def result(self) -> keras.KerasTensor:
        result = super().result()
        return result if self._positive is None else result[self._positive]


class PredictedClasses(keras.metrics.Metric):
    """How many classes a network predicts at all; 1 is the sign of a collapsed one."""

    def __init__(self, classes: int) -> None:
        super().__init__(name="predicted_classes")
        self._counts = self.add_weight(shape=(classes,), initializer="zeros", name="counts")

    def update_state(self, y_true: Floats, y_pred: Floats, sample_weight: Floats | None = None) -> None:
        most_likely = ops.one_hot(ops.argmax(y_pred, axis=-1), y_pred.shape[-1])
        self._counts.assign_add(ops.sum(most_likely, axis=0))

    def result(self) -> keras.KerasTensor:
        return ops.sum(ops.cast(self._counts > 0, "float32"))
