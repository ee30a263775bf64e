"""Keras callbacks, in the order in which they run at the end of an epoch.

Validate, write learning curves for `dvc plots`, keep the best epoch and stop, write a checkpoint.
"""

import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

os.environ.setdefault("ITERATIVE_DO_NOT_TRACK", "1")  # read by dvclive when it is imported: only download has a network

from dvclive import Live

from transfer.core.arrays import Floats
from transfer.core.errors import UserError
from transfer.core.progress import progress_bar
from transfer.training.batches import Batches
from transfer.training.checkpoints import Checkpoint, TrainingState
from transfer.training.recipe import Recipe

CURVES = ("loss", "accuracy", "f1")


class Validation(keras.callbacks.Callback):
    """Add the validation figures of `top` to the logs of an epoch, for the callbacks behind this one.

    `fit` validates by itself, but on what it trains; that may be `top` with its trunk, which validation can do without.
    """

    def __init__(self, top: keras.Model, validation: Batches) -> None:
        super().__init__()
        self._top, self._validation = top, validation

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        figures = self._top.evaluate(self._validation.feed(), return_dict=True, verbose=0)
        logs.update({f"val_{name}": value for name, value in figures.items()})


class LearningCurves(keras.callbacks.Callback):
    """Write loss, accuracy and F1 of both splits and the learning rate after every epoch.

    The tables are FOLDER/plots/metrics/{train,validation}/NAME.tsv and FOLDER/plots/metrics/lr.tsv: step, value. Steps
    count from 0. The folder is removed first; where training goes on, `epochs` is what the attribute held before.
    """

    def __init__(self, folder: Path, epochs: Sequence[dict[str, float]] = ()) -> None:
        super().__init__()
        shutil.rmtree(folder, ignore_errors=True)
        self._live = Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)
        self.epochs: list[dict[str, float]] = []
        for values in epochs:
            self._log(values)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        values = {}
        for name in CURVES:
            values[f"train/{name}"] = float(logs[name])
            values[f"validation/{name}"] = float(logs[f"val_{name}"])
        self._log({**values, "lr": float(self.model.optimizer.learning_rate)})

    def _log(self, values: dict[str, float]) -> None:
        """Write the values of the next epoch."""
        for name, value in values.items():
            self._live.log_metric(name, value)
        self._live.next_step()
        self.epochs.append(values)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._live.end()


class BestEpoch(keras.callbacks.Callback):
    """Keep the weights of the epoch with the lowest validation loss, time epochs, and stop where more are no use.

    Only those of `top` are kept, which is all that changes: its trainable variables, and the moving averages of a
    baseline's batch normalisation. An epoch in which one class is predicted for everything is kept only while there is
    no other. Training stops where the loss is no number, after `patience` epochs without a better one, and where
    another epoch would end after the time budget.
    """

    NOTED = ("seconds", "one_class", "stopped", "epoch", "figures", "rank")

    def __init__(self, top: keras.Model, recipe: Recipe, started: float, name: str) -> None:
        super().__init__()
        self._top, self._recipe, self._started = top, recipe, started
        self.seconds: list[float] = []
        self.one_class: list[int] = []
        self.stopped: str | None = None
        self.epoch = 0
        self.figures: dict[str, float] = {}
        self.rank = (True, math.inf)  # one class only; validation loss
        self.weights: list[Floats] = []  # of the best epoch, in the order of the network's
        self._bar = progress_bar(recipe.epochs, name, "epoch")

    def facts(self) -> dict[str, Any]:
        """Return what was noted so far, all but the weights."""
        return {name: getattr(self, name) for name in self.NOTED}

    def restore(self, facts: dict[str, Any], weights: list[Floats]) -> None:
        """Go on from what `facts` returned, and the weights."""
        for name in self.NOTED:
            setattr(self, name, facts[name])
        self.rank = (bool(self.rank[0]), float(self.rank[1]))
        self.weights = weights
        self._bar.update(len(self.seconds))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.seconds.append(time.perf_counter() - self._start)
        if not (math.isfinite(values["loss"]) and math.isfinite(values["val_loss"])):
            self._diverged(epoch + 1, values["loss"], values["val_loss"])
            return
        rank = (values["val_predicted_classes"] < 2, values["val_loss"])
        if rank[0]:
            self.one_class.append(epoch + 1)
        if rank < self.rank:
            self.rank, self.epoch = rank, epoch + 1
            self.figures = {name: round(values[f"val_{name}"], 6) for name in CURVES}
            self.weights = self._top.get_weights()
        state = f"validation loss {values['val_loss']:.3f}, accuracy {values['val_accuracy']:.3f}"
        self._bar.set_postfix_str(state, refresh=False)
        self._bar.update()
        if epoch + 1 < self._recipe.epochs and (reason := self._enough(epoch + 1)):
            self._stop(reason)

    def _diverged(self, epoch: int, loss: float, val_loss: float) -> None:
        """Stop; with nothing to keep, that is an error."""
        losses = f"received {loss} in training and {val_loss} in validation"
        if not self.epoch:
            self._bar.close()
            raise UserError(
                f"epoch {epoch}: expected a finite loss, {losses}: training diverged; try a lower learning rate"
            )
        self._stop(f"training diverged in epoch {epoch}: expected a finite loss, {losses}")

    def _enough(self, epochs: int) -> str | None:
        """Say why training is to stop after so many epochs."""
        patience, budget = self._recipe.patience, self._recipe.time_budget_s
        if patience is not None and epochs - self.epoch >= patience:
            return f"finetune.patience: none of the last {patience} epochs was better than epoch {self.epoch}"
        if budget is not None and time.perf_counter() - self._started + max(self.seconds[-2:]) > budget:
            return f"time_budget_s: another epoch would end after the {budget:g} s"
        return None

    def _stop(self, reason: str) -> None:
        self.stopped = reason
        self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._bar.close()
        self._top.set_weights(self.weights)


class Saving(keras.callbacks.Callback):
    """Write checkpoints at the ends of epochs. Stands behind all callbacks whose state it keeps."""

    def __init__(
        self, checkpoint: Checkpoint, started: float, epochs: int, best: BestEpoch, history: LearningCurves
    ) -> None:
        super().__init__()
        self._checkpoint, self._started, self._epochs = checkpoint, started, epochs
        self._best, self._history = best, history

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not self._checkpoint.due():
            return
        elapsed = time.perf_counter() - self._started
        facts = {"epochs": self._epochs, "elapsed_s": elapsed, "history": self._history.epochs, **self._best.facts()}
        variables = [ops.convert_to_numpy(variable) for variable in changing(self.model)]
        self._checkpoint.write(TrainingState(facts, {"variables": variables, "best": self._best.weights}))


def changing(trained: keras.Model) -> list[keras.Variable]:
    """Return all that training may change, the states of random generators and of the optimizer among them."""
    return [*trained.variables, *trained.optimizer.variables]
