"""A time budget for training: how many epochs fit into it."""

import math
import time

import keras
import numpy as np

from transfer.batches import Array, Batches

PROBED = 6  # steps, of which the first ones, that build the graph and fill caches, do not count
NOT_COUNTED = 2


class _StepClock(keras.callbacks.Callback):
    """When each step ended, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.ends.append(time.perf_counter())


def epochs_within(
    budget_s: float, epochs: int, trained: keras.Model, top: keras.Model, batches: Batches, validation: Batches
) -> int:
    """Return how many of the epochs fit into the budget, at least 1, from a few steps and one validation.

    The learning rate can then fall to 0 within the budget, which serves the model better than to be cut off on the way.
    Weights are left as they were; the optimizer's state is not.

    Args:
        budget_s: seconds, the few steps included.
        epochs: that are wanted.
        trained: the compiled network that is trained; it ends in `top`.
        top: the compiled network that is validated.
        batches: to train on.
        validation: to validate on.
    """
    start = time.perf_counter()
    weights: list[Array] = trained.get_weights()
    clock = _StepClock()
    trained.fit(batches.feed(), steps_per_epoch=min(PROBED, len(batches)), callbacks=[clock], shuffle=False, verbose=0)
    trained.set_weights(weights)
    before = time.perf_counter()
    top.evaluate(validation.feed(), verbose=0)
    end = time.perf_counter()
    steps = np.diff(clock.ends[NOT_COUNTED:])
    step = float(np.median(steps)) if steps.size else before - start
    fitting = math.floor((budget_s - (end - start)) / (step * len(batches) + end - before))
    return max(1, min(epochs, fitting))
