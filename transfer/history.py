"""Learning curves: one table a metric, written by dvclive for `dvc plots`."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras

os.environ.setdefault("ITERATIVE_DO_NOT_TRACK", "1")  # read by dvclive when it is imported: only download has a network

from dvclive import Live

CURVES = ("loss", "accuracy", "f1")


class LearningCurves(keras.callbacks.Callback):
    """Write loss, accuracy and F1 of both splits and the learning rate after every epoch.

    The tables are FOLDER/plots/metrics/{train,validation}/NAME.tsv and FOLDER/plots/metrics/lr.tsv: step, value. Steps
    count from 0.

    Args:
        folder: is removed first.
        epochs: what `epochs` held after the epochs that were trained before, where training goes on.
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
