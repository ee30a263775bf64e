"""The Model Performance Table, and which model is better than which."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transfer.core.errors import UserError
from transfer.core.files import read_json
from transfer.core.spec import Spec
from transfer.evaluation.markdown import p_value
from transfer.results.delong import AreaComparison, area_interval, compare_areas, enough
from transfer.results.statistics import Comparison, Interval, compare_pairs, f1_interval, mean_interval
from transfer.results.subgroups import subgroups

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
    "head": ("embed", "train-head"),
    "finetuned": ("embed", "train-head", "train-finetuned"),
}
"""The costs that go into a model's training time: the trunk's pass, and for the fine-tuned one the head's as well."""

SIGNIFICANCE = 0.05
TWO = 2  # classes, which have one ROC curve


@dataclass(frozen=True)
class Results:
    """All that the stages before have measured, by model."""

    scores: dict[str, dict[str, Any]]
    training: dict[str, dict[str, Any]]
    predictions: dict[str, pd.DataFrame]
    costs: dict[str, dict[str, Any]]

    @property
    def images(self) -> list[str]:
        """Names of the test images, in the order of all predictions."""
        return list(self.predictions[next(iter(MODELS))]["image"])


@dataclass(frozen=True)
class Findings:
    """What compare makes of the results.

    `table` is the Model Performance Table; `pairs` compares every two models by accuracy and `areas` by the area under
    the ROC curve (empty unless there are two classes, and two test images of each); `subgroups` is the table of
    `subgroups.subgroups`.
    """

    table: pd.DataFrame
    pairs: list[Comparison]
    areas: list[AreaComparison]
    subgroups: pd.DataFrame


def read_results(evaluated: Path, trained: Path, predicted: Path, cost: Path) -> Results:
    """Read what evaluate, the training stages and embed wrote, from the folders that they wrote to.

    Raises:
        UserError: the models were not evaluated on the same images.
    """
    names = {name for parts in TRAINING.values() for name in parts} | {f"evaluate-{model}" for model in MODELS}
    predictions = {model: _predictions(predicted / f"{model}.csv") for model in MODELS}
    images = [list(table["image"]) for table in predictions.values()]
    if any(other != images[0] for other in images[1:]):
        raise UserError(f"{predicted}: expected the same test images for every model: dvc repro -f evaluate")
    return Results(
        {model: read_json(evaluated / f"{model}.json") for model in MODELS},
        {model: read_json(trained / f"{model}.json") for model in MODELS},
        predictions,
        {name: read_json(cost / f"{name}.json") for name in sorted(names)},
    )


def _predictions(path: Path) -> pd.DataFrame:
    """Read predictions; names of classes are text, also those like 7 and NA."""
    names = dict.fromkeys(("image", "actual", "predicted"), str)
    return pd.read_csv(path, dtype=names, keep_default_na=False, lineterminator="\n")


def read_reliability(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the reliability diagrams that evaluate wrote, by model (see `calibration.calibrate`)."""
    return {model: pd.read_csv(folder / f"{model}.csv") for model in MODELS}


def find(results: Results, strata: pd.DataFrame, spec: Spec, resamples: int, seed: int) -> Findings:
    """Set the models side by side; `strata` is what `subgroups.read_strata` gives for the test images."""
    right = {model: (table["actual"] == table["predicted"]).to_numpy() for model, table in results.predictions.items()}
    areas = []
    if len(spec.classes) == TWO:
        positive, scores = _of_positive(results, spec)
        areas = compare_areas(positive, scores)
    return Findings(
        performance_table(results, spec, resamples, seed),
        compare_pairs(right, resamples, seed),
        areas,
        subgroups(results.predictions, strata, spec.positive if spec.positive_class is not None else None),
    )


def _of_positive(results: Results, spec: Spec) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float64]]]:
    """Return which test images are of the positive of two classes, and what each model gives for its probability.

    Where neither class is named positive it is the second: the area is the same for both.
    """
    name = spec.positive if spec.positive is not None else spec.classes[1]
    actual = next(iter(results.predictions.values()))["actual"]
    scores = {model: table[f"p_{name}"].to_numpy(np.float64) for model, table in results.predictions.items()}
    return (actual == name).to_numpy(), scores


def performance_table(results: Results, spec: Spec, resamples: int, seed: int) -> pd.DataFrame:
    """Return the Model Performance Table, a row for each model.

    Columns: model; parameters; trainable; weights_mb and memory_mb (peak resident memory of a process that predicts),
    in 10^6 bytes; training_s; prediction_ms and prediction_ms_batch_32, an image; train_accuracy, val_accuracy,
    accuracy, f1 and auc (test split), the latter three with the ends of their 95 % intervals, _low and _high: bootstrap
    percentiles for accuracy and f1, DeLong's for auc, NaN where there are more than two classes or too few images.
    What prediction costs is NaN if measuring it failed.
    """
    rows = []
    for model in MODELS:
        scores, training = results.scores[model], results.training[model]
        prediction = results.costs[f"evaluate-{model}"]["prediction"]
        rows.append(
            {
                "model": model,
                "parameters": training["parameters"],
                "trainable": training["trainable"],
                "weights_mb": round(prediction["weights_bytes"] / 1e6, 1),
                "memory_mb": _rounded(prediction.get("peak_memory_bytes"), 1e-6),
                "training_s": round(sum(results.costs[name]["seconds"] for name in TRAINING[model]), 1),
                "prediction_ms": _rounded(prediction.get("seconds_per_image_batch_1"), 1e3, 2),
                "prediction_ms_batch_32": _rounded(prediction.get("seconds_per_image_batch_32"), 1e3, 2),
                "train_accuracy": scores["train_accuracy"],
                "val_accuracy": scores["val_accuracy"],
                **_with_intervals(results, model, spec, resamples, seed),
            }
        )
    return pd.DataFrame(rows)


def _rounded(value: float | None, factor: float, digits: int | None = None) -> float:
    """Return value × factor, rounded; NaN for what was not measured."""
    return np.nan if value is None else round(value * factor, digits)


def _with_intervals(results: Results, model: str, spec: Spec, resamples: int, seed: int) -> dict[str, float]:
    """Return the test scores of a model that have intervals, with them."""
    table = results.predictions[model]
    numbers = {name: number for number, name in enumerate(spec.classes)}
    actual, predicted = (np.array(table[name].map(numbers), np.int64) for name in ("actual", "predicted"))
    intervals = {
        "accuracy": mean_interval((actual == predicted).astype(np.float64), resamples, seed),
        "f1": f1_interval(actual, predicted, len(spec.classes), spec.positive_class, resamples, seed),
        "auc": Interval(np.nan, np.nan),
    }
    if len(spec.classes) == TWO:
        positive, scores = _of_positive(results, spec)
        if enough(positive):
            intervals["auc"] = area_interval(positive, scores[model])
    columns = {}
    for name, interval in intervals.items():
        columns[name] = results.scores[model][name]
        columns |= {f"{name}_low": round(interval.low, 4), f"{name}_high": round(interval.high, 4)}
    return columns


def verdicts(pairs: list[Comparison], areas: list[AreaComparison]) -> list[str]:
    """Say of each transfer model and each baseline, and of the two transfer models, which is better and how surely.

    `tables.pairs` has the intervals, and the tests that p-values come from.
    """
    of_accuracy = {(pair.first, pair.second): pair for pair in pairs}
    of_area = {(pair.first, pair.second): pair for pair in areas}
    compared = [(model, baseline) for model in TRANSFER for baseline in BASELINES] + [("finetuned", "head")]
    return [
        _verdict(of_accuracy[other, model]) + _area_verdict(of_area.get((other, model))) + "."
        for model, other in compared
    ]


def _verdict(pair: Comparison) -> str:
    if pair.only_first == pair.only_second == 0:
        return (
            f"`{pair.second}` and `{pair.first}` cannot be told apart by accuracy: both are right about the same test "
            "images"
        )
    sure = pair.p_holm < SIGNIFICANCE
    better = "is better than" if pair.difference > 0 else "is worse than"
    said = f"`{pair.second}` {better if sure else 'is not shown to be better than'} `{pair.first}`"
    return f"{said}: {100 * pair.difference:+.1f} points of test accuracy, {_significant(pair.p_holm)}"


def _significant(p: float) -> str:
    return f"{'significant' if p < SIGNIFICANCE else 'not significant'} (p {p_value(p)})"


def _area_verdict(pair: AreaComparison | None) -> str:
    if pair is None:
        return ""
    if pair.difference == pair.low == pair.high == 0:
        return "; their ROC AUC is equal"
    return f"; {pair.difference:+.3f} of ROC AUC, {_significant(pair.p_holm)}"


def ranking(results: Results) -> list[str]:
    """Return the models by validation accuracy, the best first; of equals, the one that `MODELS` names first."""
    return sorted(MODELS, key=lambda model: -results.scores[model]["val_accuracy"])


def figures(results: Results, findings: Findings) -> dict[str, object]:
    """Give what goes to metrics/compare.json: the winner by validation accuracy, the intervals, tests and subgroups.

    What is not defined is null.
    """
    names = [f"{name}{end}" for name in ("accuracy", "f1", "auc") for end in ("", "_low", "_high")]
    intervals, groups = (
        table.astype(object).where(table.notna(), None)  # JSON has no NaN
        for table in (findings.table.set_index("model")[names], findings.subgroups)
    )
    return {
        "winner": ranking(results)[0],
        "intervals": intervals.to_dict("index"),
        "pairs": [asdict(pair) for pair in findings.pairs],
        "areas": [asdict(pair) for pair in findings.areas],
        "subgroups": groups.to_dict("records"),
    }
