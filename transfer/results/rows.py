"""Rows of the results' tables, alike in metrics/REPORT.md and on the page: a header and cells as text.

`name` writes the short name of a model as each of them does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from transfer.evaluation.markdown import interval, p_value
from transfer.results.performance import MODELS, Results

Name = Callable[[str], str]
Rows = tuple[list[str], list[list[str]]]

SCORES = {
    "accuracy": "accuracy",
    "weighted": "weighted accuracy",
    "weighted_alternative": "weighted, alternative",
    "f1": "F1",
    "f1_macro": "macro F1",
    "precision": "precision",
    "recall": "recall",
    "log_loss": "log loss",
    "auc_weighted": "weighted ROC AUC",
}
"""Scores and what they are called; not every dataset has all."""


def scores(results: Results, table: pd.DataFrame, name: Name, wanted: Sequence[str]) -> Rows:
    """Return the wanted ones of `SCORES`, as far as there are any; `table` is the Model Performance Table."""
    there = [key for key in wanted if key in results.scores["head"]]
    areas = {row["model"]: interval(row["auc"], row["auc_low"], row["auc_high"]) for row in table.to_dict("records")}
    rows = [[name(model), *(f"{results.scores[model][key]:.3f}" for key in there), areas[model]] for model in MODELS]
    return ["model", *(SCORES[key] for key in there), "ROC AUC (95 %)"], rows


def pairs(pairs: Sequence[Mapping[str, Any]], areas: Sequence[Mapping[str, Any]], name: Name) -> Rows:
    """Return every two models compared: `pairs` and `areas` as in metrics/compare.json."""
    area_of = {(area["first"], area["second"]): area for area in areas}
    header = ["second less first", "test accuracy, points (95 %)", "right only by second / first", "p (McNemar, Holm)"]
    header += ["ROC AUC (95 %)", "p (DeLong, Holm)"] if areas else []
    rows = []
    for pair in pairs:
        points = interval(100 * pair["difference"], 100 * pair["low"], 100 * pair["high"], "+.1f")
        row = [name(pair["second"]) + " − " + name(pair["first"]), points]
        row += [f"{pair['only_second']} / {pair['only_first']}", p_value(pair["p_holm"]).removeprefix("= ")]
        if area := area_of.get((pair["first"], pair["second"])):
            row += [
                interval(area["difference"], area["low"], area["high"], "+.3f"),
                p_value(area["p_holm"]).removeprefix("= "),
            ]
        rows.append(row)
    return header, rows


def calibration(results: Results, name: Name) -> Rows:
    """Return calibration before and after the temperature."""
    rows = []
    for model in MODELS:
        found = results.scores[model]
        changes = [f"{found[key]:.3f} → {found[f'{key}_calibrated']:.3f}" for key in ("ece", "log_loss", "brier")]
        rows.append([name(model), f"{found['temperature']:.2f}", *changes])
    return ["model", "temperature", "ECE", "log loss", "Brier score"], rows


def operating_points(results: Results, name: Name) -> Rows:
    """Return the test scores at 0.5 and at the threshold (see `scores.operating_point`)."""
    keys = ("accuracy", "precision", "recall", "f1")
    rows = []
    for model in MODELS:
        found = results.scores[model]
        changes = [f"{found[key]:.3f} → {found[f'{key}_at_threshold']:.3f}" for key in keys]
        rows.append([name(model), f"{found['threshold']:.4f}", *changes])
    return ["model", "threshold", *(SCORES[key] for key in keys)], rows


def training(results: Results, name: Name) -> Rows:
    """Return what training came to."""
    rows = []
    for model in MODELS:
        found = results.training[model]
        kept = f"{found['best_epoch']} of {found['epochs']}"
        losses = [f"{found['validation']['loss']:.3f}", f"{found['chance_loss']:.3f}"]
        rows.append([name(model), kept, *losses, remarks(found)])
    return ["model", "kept epoch", "validation loss", "loss of chance", "remarks"], rows


def remarks(training: Mapping[str, Any]) -> str:
    """Say what went wrong in training, or ended it early. `training` is metrics/train/MODEL.json."""
    found = [
        f"collapsed: {training['collapsed']}" if training["collapsed"] else "",
        f"stopped: {training['stopped']}" if training["stopped"] else "",
        f"one class predicted in epochs {training['one_class_epochs']}" if training["one_class_epochs"] else "",
    ]
    return "; ".join(filter(None, found)) or "none"
