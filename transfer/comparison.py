"""The Model Performance Table and the report that goes with it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transfer.cost import read_json
from transfer.errors import UserError
from transfer.spec import Spec
from transfer.statistics import Comparison, accuracy_interval, compare_pairs, f1_interval

MODELS = {
    "ann": "ANN, from scratch",
    "cnn": "CNN, from scratch",
    "head": "frozen backbone, trained head",
    "finetuned": "fine-tuned backbone",
}
"""The models in the order of the tables, and what they are called in words."""
BASELINES, TRANSFER = ("ann", "cnn"), ("head", "finetuned")
TRAINING = {
    "ann": ("train-ann",),
    "cnn": ("train-cnn",),
    "head": ("embed-head", "train-head"),
    "finetuned": ("embed-head", "train-head", "embed-finetune", "train-finetuned"),
}
"""The costs that go into a model's training time: the trunk's pass, and for the fine-tuned one the head's as well."""

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Results:
    """All that the stages before have measured, by model."""

    scores: dict[str, dict[str, Any]]
    training: dict[str, dict[str, Any]]
    predictions: dict[str, pd.DataFrame]
    costs: dict[str, dict[str, Any]]


def read_results(evaluated: Path, trained: Path, predicted: Path, cost: Path) -> Results:
    """Read what evaluate, the training stages and embed wrote, from the folders that they wrote to."""
    names = {name for parts in TRAINING.values() for name in parts} | {f"evaluate-{model}" for model in MODELS}
    return Results(
        {model: read_json(evaluated / f"{model}.json") for model in MODELS},
        {model: read_json(trained / f"{model}.json") for model in MODELS},
        {model: _predictions(predicted / f"{model}.csv") for model in MODELS},
        {name: read_json(cost / f"{name}.json") for name in sorted(names)},
    )


def _predictions(path: Path) -> pd.DataFrame:
    """Read predictions; names of classes are text, also those like 7 and NA."""
    names = dict.fromkeys(("image", "actual", "predicted"), str)
    return pd.read_csv(path, dtype=names, keep_default_na=False)


def performance_table(results: Results, spec: Spec, positive: int | None, resamples: int, seed: int) -> pd.DataFrame:
    """Return the Model Performance Table, a row for each model.

    Columns: model; parameters; trainable; weights_mb and memory_mb (peak resident memory of a process that predicts),
    in 10^6 bytes; training_s; prediction_ms and prediction_ms_batch_32, an image; train_accuracy, val_accuracy,
    accuracy and f1 (test split), the latter two with the ends of their 95 % intervals, _low and _high.
    """
    rows = []
    for model in MODELS:
        scores, training = results.scores[model], results.training[model]
        prediction = results.costs[f"evaluate-{model}"]["prediction"]
        table = results.predictions[model]
        actual, predicted = (_numbers(table[column], spec.classes) for column in ("actual", "predicted"))
        accuracy = accuracy_interval(actual, predicted, resamples, seed)
        f1 = f1_interval(actual, predicted, len(spec.classes), positive, resamples, seed)
        rows.append(
            {
                "model": model,
                "parameters": training["parameters"],
                "trainable": training["trainable"],
                "weights_mb": round(prediction["weights_bytes"] / 1e6, 1),
                "memory_mb": round(prediction["peak_memory_bytes"] / 1e6),
                "training_s": round(sum(results.costs[name]["seconds"] for name in TRAINING[model]), 1),
                "prediction_ms": round(prediction["seconds_per_image_batch_1"] * 1e3, 2),
                "prediction_ms_batch_32": round(prediction["seconds_per_image_batch_32"] * 1e3, 2),
                "train_accuracy": scores["train_accuracy"],
                "val_accuracy": scores["val_accuracy"],
                "accuracy": scores["accuracy"],
                "accuracy_low": round(accuracy.low, 4),
                "accuracy_high": round(accuracy.high, 4),
                "f1": scores["f1"],
                "f1_low": round(f1.low, 4),
                "f1_high": round(f1.high, 4),
            }
        )
    return pd.DataFrame(rows)


def _numbers(names: pd.Series, classes: tuple[str, ...]) -> NDArray[np.int64]:
    return np.array([classes.index(name) for name in names], np.int64)


def compare(results: Results) -> list[Comparison]:
    """Compare every two models on the test images.

    Raises:
        UserError: the models were not evaluated on the same images.
    """
    images = [list(table["image"]) for table in results.predictions.values()]
    if any(other != images[0] for other in images[1:]):
        raise UserError("plots/predictions: expected the same test images for every model: dvc repro -f evaluate")
    right = {model: (table["actual"] == table["predicted"]).to_numpy() for model, table in results.predictions.items()}
    return compare_pairs(right)


def verdicts(results: Results, comparisons: list[Comparison]) -> list[str]:
    """Say of each transfer model and each baseline, and of the two transfer models, which is better and how surely."""
    pairs = {(pair.first, pair.second): pair for pair in comparisons}
    lines = []
    for better, other in [(model, baseline) for model in TRANSFER for baseline in BASELINES] + [("finetuned", "head")]:
        pair = pairs[other, better]
        gain = 100 * (results.scores[better]["accuracy"] - results.scores[other]["accuracy"])
        direction = "is better than" if gain > 0 else "is not better than"
        sure = "a difference that chance hardly explains" if pair.p_holm < SIGNIFICANCE else "which may be chance"
        lines.append(
            f"`{better}` {direction} `{other}`: {gain:+.1f} points of test accuracy, {sure} (exact McNemar, "
            f"{pair.only_second} against {pair.only_first} images that only one has right, p = {pair.p_holm:.2g} "
            "after Holm's correction)."
        )
    return lines


def figures(results: Results, table: pd.DataFrame, comparisons: list[Comparison]) -> dict[str, object]:
    """Give what goes to metrics/compare.json: the winner by validation accuracy, the intervals and the tests."""
    winner = max(MODELS, key=lambda model: results.scores[model]["val_accuracy"])
    intervals = ["accuracy", "accuracy_low", "accuracy_high", "f1", "f1_low", "f1_high"]
    return {
        "winner": winner,
        "intervals": {row["model"]: {name: row[name] for name in intervals} for row in table.to_dict("records")},
        "mcnemar": [asdict(pair) for pair in comparisons],
    }
