"""Learning curves: one table a metric, written by dvclive for `dvc plots`."""

import os
import shutil
from pathlib import Path

import keras

os.environ.setdefault("ITERATIVE_DO_NOT_TRACK", "1")  # read by dvclive when it is imported: only download has a network

from dvclive import Live

CURVES = ("loss", "accuracy", "f1")


class LearningCurves(keras.callbacks.Callback):
    """Write loss, accuracy and F1 of both splits and the learning rate after every epoch.

    The tables are FOLDER/plots/metrics/{train,validation}/NAME.tsv and FOLDER/plots/metrics/lr.tsv: step, value. Steps
    count from 0.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        shutil.rmtree(folder, ignore_errors=True)
        self._live = Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        for name in CURVES:
            self._live.log_metric(f"train/{name}", float(logs[name]))
            self._live.log_metric(f"validation/{name}", float(logs[f"val_{name}"]))
        self._live.log_metric("lr", float(self.model.optimizer.learning_rate))
        self._live.next_step()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._live.end()
