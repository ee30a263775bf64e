"""A time budget for training: how many epochs fit into it."""

import math
import time

import keras
import numpy as np

from transfer.core.arrays import Floats
from transfer.training.batches import Batches
from transfer.training.recipe import Job

PROBED = 6  # steps, of which the first ones, that build the graph and fill caches, do not count
NOT_COUNTED = 2


class StepClock(keras.callbacks.Callback):
    """Note when each training step ends. `fit` needs seconds to begin, which a whole training pays only once."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forget the steps of an earlier `fit`."""
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def seconds_per_step(self, first: int = 0) -> float:
        """Return the median from one step's end to the next one's, the wait for data included, from step `first` on."""
        return float(np.median(np.diff(self.ends[first:])))


def epochs_within(job: Job, batches: Batches, validation: Batches) -> int:
    """Return how many of the epochs fit into the recipe's budget, at least 1, from a few steps and one validation.

    The learning rate can then fall to 0 within the budget, which serves the model better than to be cut off on the way.
    The few steps count. The job's networks are compiled; weights are left as they were, the optimizer's state is not.
    """
    start, trained, budget = time.perf_counter(), job.trained, job.recipe.time_budget_s
    assert budget is not None
    weights: list[Floats] = trained.get_weights()
    clock = StepClock()
    trained.fit(batches.feed(), steps_per_epoch=min(PROBED, len(batches)), callbacks=[clock], shuffle=False, verbose=0)
    trained.set_weights(weights)
    before = time.perf_counter()
    job.top.evaluate(validation.feed(), verbose=0)
    end = time.perf_counter()
    timed = len(clock.ends) > NOT_COUNTED + 1
    step = clock.seconds_per_step(NOT_COUNTED) if timed else before - start
    fitting = math.floor((budget - (end - start)) / (step * len(batches) + end - before))
    return max(1, min(job.recipe.epochs, fitting))
