"""The results as one HTML file that needs nothing else, no network and no script: python -m transfer report

It says what metrics/REPORT.md says, in the same words, with charts, the worst mistakes and the data sheet. It is no
stage of the pipeline, and reads what the pipeline wrote. The same files, parameters and commit give the same bytes.
"""

import base64
import json
import math
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from transfer.core.cards import Card
from transfer.core.errors import UserError
from transfer.core.files import read_json, write_text
from transfer.core.params import read_params
from transfer.core.spec import Spec
from transfer.core.strict import load_yaml, validate
from transfer.evaluation.calibration import BINS
from transfer.results import charts, page_tables
from transfer.results.delong import AreaComparison
from transfer.results.performance import BASELINES, MODELS, TRAINING, TRANSFER, Results, read_results, verdicts
from transfer.results.report import (
    MANY_CLASSES,
    calibration,
    largest_class,
    limits,
    threshold,
    weighting,
    without_error,
)
from transfer.results.statistics import Comparison
from transfer.results.templating import environment

PARAMS = Path("params.yaml")
CARD = Path("data/raw/card.yaml")
SPEC = Path("data/records/spec.json")
QUARANTINE = Path("data/quarantine.csv")
DUPLICATES = Path("data/duplicates.csv")
DATA = Path("metrics/data.json")
COMPARE = Path("metrics/compare.json")
EVALUATED = Path("metrics/evaluate")
TRAINED = Path("metrics/train")
COST = Path("metrics/cost")
TABLE = Path("plots/performance_table.csv")
PREDICTED = Path("plots/predictions")
ROC = Path("plots/roc")
PRECISION_RECALL = Path("plots/precision_recall")
RELIABILITY = Path("plots/reliability")
MISTAKES = Path("plots/mistakes")
HISTORY = Path("plots/history")
EXPORT = Path("metrics/export.json")  # this and the next: where the model was exported
EXPORT_COST = Path("metrics/export-cost.json")
PAGE = Path(".report/index.html")

PACKAGES = ("dvc", "keras", "tensorflow", "openvino", "numpy", "scipy", "scikit-learn", "statsmodels", "matplotlib")
"""Packages whose versions the page names."""
SCORES = {"loss": "loss", "accuracy": "accuracy", "f1": "F1"}
"""Learning curves that there are, and what they are called."""
BOUNDED = ("accuracy", "f1")  # scores that all models' charts show on one scale


@dataclass(frozen=True)
class Evidence:
    """What the pipeline wrote, as read."""

    card: Card
    spec: Spec
    data: dict[str, Any]
    compare: dict[str, Any]
    results: Results
    table: pd.DataFrame
    quarantine: pd.DataFrame
    duplicates: pd.DataFrame


def inputs() -> list[Path]:
    """Return all files that the page is made of, but for those of an export."""
    of_models = [
        path
        for model in MODELS
        for path in (
            EVALUATED / f"{model}.json",
            TRAINED / f"{model}.json",
            PREDICTED / f"{model}.csv",
            ROC / f"{model}.csv",
            PRECISION_RECALL / f"{model}.csv",
            RELIABILITY / f"{model}.csv",
            MISTAKES / f"{model}.png",
            *(curve(model, split, score) for split in ("train", "validation") for score in SCORES),
        )
    ]
    costs = sorted({name for parts in TRAINING.values() for name in parts} | {f"evaluate-{model}" for model in MODELS})
    shared = [PARAMS, CARD, SPEC, QUARANTINE, DUPLICATES, DATA, COMPARE, TABLE]
    return [*shared, *of_models, *(COST / f"{name}.json" for name in costs)]


def curve(model: str, split: str, score: str) -> Path:
    """Return where a learning curve is (see `training.callbacks.LearningCurves`)."""
    return HISTORY / model / "plots/metrics" / split / f"{score}.tsv"


def read() -> Evidence:
    """Read what the pipeline wrote below the working directory.

    Raises:
        UserError: some of it is missing.
    """
    if missing := [path for path in inputs() if not path.exists()]:
        more = f" (nor {len(missing) - 1} others)" if missing[1:] else ""
        raise UserError(
            f"{missing[0]}: expected what the pipeline writes, received no such file{more}: run `dvc repro` first, or "
            "`dvc pull`, where somebody has shared results"
        )
    return Evidence(
        validate(Card, load_yaml(CARD), CARD),
        Spec.read(SPEC),
        read_json(DATA),
        read_json(COMPARE),
        read_results(EVALUATED, TRAINED, PREDICTED, COST),
        pd.read_csv(TABLE),
        _text_table(QUARANTINE),
        _text_table(DUPLICATES),
    )


def _text_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False, lineterminator="\n")


def prose(text: str) -> Markup:
    """Turn a sentence of the report, with `code` and *emphasis*, into HTML; all else is escaped."""
    said = str(escape(" ".join(text.split())))
    said = re.sub(r"`([^`]+)`", r"<code>\1</code>", said)
    said = re.sub(r"\bp (=|&lt;) ", "p\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", said)
    return Markup(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", said))  # noqa: S704 (escaped above)


def render(evidence: Evidence, commit: str, state: str) -> str:
    """Return the page.

    Args:
        evidence: what the pipeline wrote.
        commit: of the project, in words.
        state: whether the evidence is that of the files that are there now, in words.
    """
    shown = {**_facts(evidence), **_words(evidence), **_tables(evidence), **_charts(evidence)}
    templates = environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    templates.filters["prose"] = prose
    return templates.get_template("page.html.j2").render(commit=commit, state=state, **shown)


def _facts(evidence: Evidence) -> dict[str, Any]:
    """Return what the page says of the data, the models and what it was made with."""
    winner = evidence.compare["winner"]
    return {
        "card": evidence.card,
        "spec": evidence.spec,
        "data": evidence.data,
        "models": MODELS,
        "dashes": charts.DASHES,
        "score_names": tuple(SCORES.values()),
        "many_classes": MANY_CLASSES,
        "winner": winner,
        "winning": next(row for row in evidence.table.to_dict("records") if row["model"] == winner),
        "engine": evidence.results.costs[f"evaluate-{winner}"]["prediction"]["engine"],
        "bins": BINS,
        "versions": {"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "parameters": PARAMS.read_text(encoding="utf-8"),
    }


def _words(evidence: Evidence) -> dict[str, Any]:
    """Return sentences, which `prose` takes."""
    results, spec, compare = evidence.results, evidence.spec, evidence.compare
    pairs = [Comparison(**pair) for pair in compare["pairs"]]
    areas = [AreaComparison(**pair) for pair in compare["areas"]]
    return {
        "verdicts": verdicts(pairs, areas),
        "limits": limits(evidence.data, len(pairs), spec),
        "largest_class": largest_class(results, evidence.table),
        "without_error": without_error(evidence.table, spec.counts["test"]),
        "weighting": weighting(evidence.card),
        "temperature_limits": calibration(results).split("\n\n")[1:],
        "threshold": threshold(results, spec).split("\n\n", maxsplit=1)[0],
    }


def _tables(evidence: Evidence) -> dict[str, Any]:
    """Return tables, and lists of them."""
    results, spec, data, table = evidence.results, evidence.spec, evidence.data, evidence.table
    positive = spec.positive if spec.positive_class is not None else None
    many = len(spec.classes) > MANY_CLASSES
    predictions = results.predictions
    return {
        "performance": page_tables.performance(table),
        "pairs": page_tables.pairs(evidence.compare),
        "scores": page_tables.scores(results, table),
        "calibration": page_tables.calibration(results),
        "operating_points": page_tables.operating_points(results) if positive else None,
        "training": page_tables.training(results),
        "subgroups": page_tables.subgroups(evidence.compare, positive),
        "confusions": page_tables.confusions(results, spec),
        "frequent_confusions": [page_tables.frequent_confusions(predictions[model], model) for model in MODELS if many],
        "hardest_classes": [
            page_tables.hardest_classes(predictions[model], model, spec.classes) for model in MODELS if many
        ],
        "mistakes": {model: page_tables.mistakes(predictions[model], model) for model in _winner_first(evidence)},
        "class_counts": page_tables.class_counts(data, spec),
        "quarantine": page_tables.quarantine(evidence.quarantine),
        "duplicates": page_tables.duplicates(data, evidence.duplicates),
        "exports": _exports(),
    }


def _winner_first(evidence: Evidence) -> list[str]:
    winner = evidence.compare["winner"]
    return [winner, *(model for model in (*reversed(TRANSFER), *reversed(BASELINES)) if model != winner)]


def _exports() -> list[page_tables.PageTable]:
    if not EXPORT.exists():
        return []
    return page_tables.exports(read_json(EXPORT), read_json(EXPORT_COST) if EXPORT_COST.exists() else {})


def _charts(evidence: Evidence) -> dict[str, Any]:
    """Return charts, and lists of them."""
    reliability = {
        model: charts.reliability(pd.read_csv(RELIABILITY / f"{model}.csv"), model, f"Reliability diagram of {model}")
        for model in MODELS
    }
    pictures = {model: base64.b64encode((MISTAKES / f"{model}.png").read_bytes()).decode("ascii") for model in MODELS}
    chosen = {
        model: (found["recall_at_threshold"], found["precision_at_threshold"])
        for model, found in evidence.results.scores.items()
        if evidence.spec.positive_class is not None
    }
    rates = {
        **_rates(ROC, ("false_positive_rate", "true_positive_rate"), {}, "ROC curve"),
        **_rates(PRECISION_RECALL, ("recall", "precision"), chosen, "Precision over recall"),
    }
    shown = {"accuracy": "accuracy", "f1": "F1"}
    return {
        "intervals": [charts.intervals(evidence.table, score, words) for score, words in shown.items()],
        "curves": _learning_curves(evidence.results),
        "rates": rates,
        "reliability": reliability,
        "pictures": pictures,
    }


def _rates(
    folder: Path, columns: tuple[str, str], points: dict[str, tuple[float, float]], title: str
) -> dict[str, Markup]:
    """Return one chart of all models, where each has one curve, else one chart for each, by the words for it."""
    name = folder.name.replace("_", "-")
    tables = {
        model: pd.read_csv(
            folder / f"{model}.csv",
            dtype={"class": str},
            keep_default_na=False,  # a class may be called NA; a rate may be missing
            na_values={column: ["", "nan"] for column in columns},
            lineterminator="\n",
        )
        for model in MODELS
    }
    classes = {table["class"].nunique() for table in tables.values()}
    if classes == {1}:
        return {title: charts.rates(tables, columns, points, name, f"{title} of all models on the test split")}
    return {
        f"{title}: {MODELS[model]}": charts.rates(
            {model: table}, columns, {}, f"{name}-{model}", f"{title} of each class against the rest, {model}"
        )
        for model, table in tables.items()
    }


def _learning_curves(results: Results) -> dict[str, list[Markup]]:
    """Return the charts of each model's scores over its epochs."""
    values = {
        (model, split, score): pd.read_csv(curve(model, split, score), sep="\t")[score].tolist()
        for model in MODELS
        for split in ("train", "validation")
        for score in SCORES
    }
    scales: dict[str, tuple[float, float] | None] = dict.fromkeys(SCORES)
    for score in BOUNDED:
        shown = [
            value for (_, _, of), found in values.items() if of == score for value in found if math.isfinite(value)
        ]
        scales[score] = (max(0.0, min(shown) - 0.02), min(1.0, max(shown)) + 0.02)
    return {
        model: [
            charts.learning_curve(
                values[model, "train", score],
                values[model, "validation", score],
                results.training[model]["best_epoch"],
                (model, MODELS[model], SCORES[score]),
                scales[score],
            )
            for score in SCORES
        ]
        for model in MODELS
    }


def commit() -> str:
    """Name the commit that is checked out, and whether tracked files differ from it."""
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "none: the project is in no git repository, or has no commit"
    return f"{head}, with changes that are not committed" if changed else head


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def state() -> str:
    """Say whether the results are those of the parameters, code and data that are there now, as DVC knows it."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        changed = sorted(json.loads(done.stdout))
    except ValueError:
        return "DVC does not say whether the results are those of these files."
    if changed:
        stages = ", ".join(changed)
        return f"The results are not those of these files: dvc repro would run {stages} and what depends on it."
    return "The results are those of these files: dvc repro would run nothing."


def main() -> None:
    """Write the page."""
    read_params(PARAMS)
    text = render(read(), commit(), state())
    write_text(text, PAGE)
    print(f"wrote  {PAGE}: {PAGE.stat().st_size / 1e6:.1f} MB; open it in a browser, or send it by itself")
