"""The results as one HTML file that needs nothing else, no network and no script: python -m transfer report

It is metrics/REPORT.md, and metrics/EXPORT.md where there is one, with charts in place of pictures, and what the
results were made with. It is no stage of the pipeline. The same files, parameters and commit give the same bytes.
"""

import json
import math
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from transfer.core.errors import UserError
from transfer.core.files import read_json, write_text
from transfer.core.params import read_params
from transfer.results import charts
from transfer.results.html import inline, sections
from transfer.results.performance import MODELS, read_reliability

PARAMS = Path("params.yaml")
REPORT = Path("metrics/REPORT.md")
EXPORT = Path("metrics/EXPORT.md")  # where the model was exported
EVALUATED = Path("metrics/evaluate")
TRAINED = Path("metrics/train")
TABLE = Path("plots/performance_table.csv")
ROC = Path("plots/roc")
PRECISION_RECALL = Path("plots/precision_recall")
RELIABILITY = Path("plots/reliability")
HISTORY = Path("plots/history")
PAGE = Path(".report/index.html")

TEMPLATES = Environment(  # text is escaped, an unknown name is an error
    loader=PackageLoader("transfer.results"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
PACKAGES = ("dvc", "keras", "tensorflow", "openvino", "numpy", "scipy", "scikit-learn", "statsmodels", "matplotlib")
"""Packages whose versions the page names."""
SCORES = {"loss": "loss", "accuracy": "accuracy", "f1": "F1"}
"""Learning curves that there are, and what they are called."""
BOUNDED = ("accuracy", "f1")  # scores that all models' charts show on one scale
CHARTED = ("Model Performance Table", "Calibration")
"""Sections of the report whose pictures the page shows as charts."""


def require_results() -> None:
    """Check that the pipeline has written what the page is made of.

    Raises:
        UserError: some of it is missing.
    """
    of_models = [
        path
        for model in MODELS
        for path in (
            EVALUATED / f"{model}.json",
            TRAINED / f"{model}.json",
            ROC / f"{model}.csv",
            PRECISION_RECALL / f"{model}.csv",
            RELIABILITY / f"{model}.csv",
            *(curve(model, split, score) for split in ("train", "validation") for score in SCORES),
        )
    ]
    if missing := [path for path in (PARAMS, REPORT, TABLE, *of_models) if not path.exists()]:
        more = f" ({len(missing) - 1} more files are missing)" if missing[1:] else ""
        raise UserError(
            f"{missing[0]}: no such file{more}; run `dvc repro` first, or `dvc pull` if somebody has shared results"
        )


def curve(model: str, split: str, score: str) -> Path:
    """Return where a learning curve is (see `training.callbacks.LearningCurves`)."""
    return HISTORY / model / "plots/metrics" / split / f"{score}.tsv"


def render(commit: str, state: str) -> str:
    """Return the page of what the pipeline wrote below the working directory; see `commit` and `state`.

    Raises:
        UserError: some of it is missing.
    """
    require_results()
    heading, _, text = REPORT.read_text(encoding="utf-8").partition("\n")
    shown = sections(text, REPORT.parent, CHARTED)
    if EXPORT.exists():
        heading_of_export, _, exported = EXPORT.read_text(encoding="utf-8").partition("\n")
        shown += sections(f"## {heading_of_export.removeprefix('# ')}\n{exported}", EXPORT.parent, ())
    title = inline(heading.removeprefix("# "))
    return TEMPLATES.get_template("page.html.j2").render(
        title=title,
        sections=shown,
        models=MODELS,
        dashes=charts.DASHES,
        score_names=tuple(SCORES.values()),
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        parameters=PARAMS.read_text(encoding="utf-8"),
        commit=commit,
        state=state,
        **_charts(),
    )


def _charts() -> dict[str, Any]:
    """Return charts, and lists of them."""
    scores = {model: read_json(EVALUATED / f"{model}.json") for model in MODELS}
    chosen = {
        model: (found["recall_at_threshold"], found["precision_at_threshold"])
        for model, found in scores.items()
        if "threshold" in found
    }
    table = pd.read_csv(TABLE)
    return {
        "intervals": [charts.intervals(table, score, words) for score, words in SCORES.items() if score in table],
        "curves": _learning_curves(),
        "rates": {
            **_rates(ROC, ("false_positive_rate", "true_positive_rate"), {}, "ROC curve"),
            **_rates(PRECISION_RECALL, ("recall", "precision"), chosen, "Precision over recall"),
        },
        "thresholds": bool(chosen),
        "reliability": {
            model: charts.reliability(bins, model, f"Reliability diagram of {model}")
            for model, bins in read_reliability(RELIABILITY).items()
        },
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


def _learning_curves() -> dict[str, list[Markup]]:
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
                read_json(TRAINED / f"{model}.json")["best_epoch"],
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
    text = render(commit(), state())
    write_text(text, PAGE)
    print(f"wrote  {PAGE}: {PAGE.stat().st_size / 1e6:.1f} MB; open it in a browser, or send it by itself")
