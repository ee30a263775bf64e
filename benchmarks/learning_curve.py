"""Would more labels help? The validation error over the training-set size: python -m benchmarks.learning_curve

Needs the outputs of `dvc repro` in the working directory: the cached activations of the training images, of which
subsets are trained on by the stage train_head itself (with --model finetuned by train_head and then finetune), each
repeat with another seed. Validation images are the same for all sizes, and the test split is not opened.
"""

import argparse
import contextlib
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from benchmarks.clones import SCRATCH
from benchmarks.size_picture import draw
from benchmarks.subsets import (
    Errors,
    PowerLaw,
    conclusion,
    fit_power_law,
    nested_subsets,
    training_rows,
    write_subset,
)
from stages import finetune, train_head
from transfer.core.cuts import resolve_cut
from transfer.core.errors import UserError, run
from transfer.core.files import read_json, write_json
from transfer.core.params import read_params
from transfer.core.spec import Spec
from transfer.records.activations import open_activations

RESULTS, PICTURE = Path("benchmarks/results/learning_curve.json"), Path("benchmarks/results/learning_curve.png")
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
REPEATS = {"head": 5, "finetuned": 3}
STAGES = {"head": ("head",), "finetuned": ("head", "finetune")}  # whose activations a model is trained on


def lay_out(project: Path, folder: Path, model: str, rows: NDArray[np.int64], seed: int) -> None:
    """Make a folder in which the training stages find a subset of the training images, and another seed."""
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    (folder / "params.yaml").write_text(yaml.safe_dump({**params, "seed": seed}, sort_keys=False), encoding="utf-8")
    for path in ("data/records", "models/backbone.json", "models/backbone.weights.h5"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to((project / path).resolve())
    for name in STAGES[model]:
        write_subset(project / "data/activations" / name, rows, folder / "data/activations" / name)


def train(folder: Path, model: str) -> str:
    """Train in such a folder. Return "ok", or what went wrong."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(sys.stderr):
        try:
            train_head.main()
            if model == "finetuned":
                finetune.main()
        except UserError as error:
            return str(error)
    return "ok"


def run_point(project: Path, model: str, rows: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """Train on some rows of the training images, and return the figures of the best epoch on the validation split.

    A model that collapsed has figures, one that diverged has none.
    """
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        lay_out(project, Path(name), model, rows, seed)
        status = train(Path(name), model)
        metrics = Path(name) / f"metrics/train/{model}.json"
        figures = read_json(metrics) if metrics.exists() else {"validation": {}}
    accuracy = figures["validation"].get("accuracy")
    return {
        "images": len(rows),
        "seed": seed,
        "status": status,
        "best_epoch": figures.get("best_epoch"),
        "error": None if accuracy is None else round(1 - accuracy, 6),
        "loss": figures["validation"].get("loss"),
    }


def require_cached(project: Path, model: str) -> None:
    """Check that training reads nothing but cached activations.

    Raises:
        UserError: fine-tuning reads the images themselves.
    """
    params = read_params(project / "params.yaml")
    tuning = params.finetune
    from_pixels = tuning.augment == "on_the_fly" or resolve_cut(params.backbone, tuning.cut) == "input"
    if model == "finetuned" and from_pixels:
        raise UserError(
            "params.yaml: finetune: for a learning curve expected augment cached or none, and a cut above input, "
            f"received {tuning.augment} and {tuning.cut}"
        )


def subsets_of(project: Path, fractions: Sequence[float], seed: int) -> list[NDArray[np.int64]]:
    """Return the nested subsets of a project's training images, as row numbers of their activations."""
    spec = Spec.read(project / "data/records/spec.json")
    labels = open_activations(project / "data/activations/head/train").labels
    splits = pd.read_csv(project / "data/splits.csv", dtype={"image": str, "label": str, "stratum": str})
    return nested_subsets(training_rows(splits, spec.classes, labels), spec.classes, fractions, seed)


def error_table(points: Sequence[dict[str, Any]]) -> tuple[list[int], Errors]:
    """Return the sizes (m,), and the errors of each repeat at each, float64 (repeats, m), NaN where there is none."""
    sizes = sorted({point["images"] for point in points})
    seeds = sorted({point["seed"] for point in points})
    errors = np.full((len(seeds), len(sizes)), math.nan)
    for point in points:
        if point["error"] is not None:
            errors[seeds.index(point["seed"]), sizes.index(point["images"])] = point["error"]
    return sizes, errors


def summarise(points: Sequence[dict[str, Any]], validation_images: int) -> dict[str, Any]:
    """Return the table of the errors, the power law through them, and what they say."""
    sizes, errors = error_table(points)
    law = fit_power_law(sizes, errors)
    rows = []
    for size, column in zip(sizes, errors.T, strict=True):
        known = column[np.isfinite(column)]
        mean = round(float(known.mean()), 4) if len(known) else None
        sd = round(float(known.std(ddof=1)), 4) if len(known) > 1 else None
        rows.append({"images": size, "mean": mean, "sd": sd, "trained": len(known)})
    said = conclusion(sizes, errors, law, validation_images)
    return {"summary": rows, "law": vars(law) if law else None, "conclusion": said, "points": list(points)}


def draw_all(results: dict[str, Any], path: Path) -> None:
    """Draw the curves of all models that there are results of."""
    curves = {}
    for model, curve in results["models"].items():
        law = PowerLaw(**curve["law"]) if curve["law"] else None
        curves[model] = (*error_table(curve["points"]), law)
    draw(curves, path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.learning_curve", description="Error over training-set size.")
    parser.add_argument("--model", choices=tuple(STAGES), default="head")
    parser.add_argument("--fractions", nargs="+", type=float, default=FRACTIONS, help="of the training images")
    parser.add_argument("--repeats", type=int, help="with another subset and seed each, two at least")
    return parser.parse_args()


def run_curve(project: Path, model: str, fractions: Sequence[float], repeats: int) -> list[dict[str, Any]]:
    """Train every point of a curve.

    Raises:
        UserError: see `subsets_of`; or fewer than two repeats, which have no spread.
    """
    if repeats < 2:
        raise UserError(f"--repeats: expected two at least, to see a spread, received {repeats}")
    require_cached(project, model)
    first = read_params(project / "params.yaml").seed
    points = []
    for seed in range(first, first + repeats):
        for rows in subsets_of(project, fractions, seed):
            points.append(run_point(project, model, rows, seed))
            print(f"{model}, seed {seed}, {len(rows)} images: error {points[-1]['error']}", file=sys.stderr, flush=True)
    return points


def main() -> None:
    """Train, write the results and the picture, print the conclusion."""
    given = _arguments()
    spec = Spec.read(Path("data/records/spec.json"))
    points = run_curve(Path(), given.model, given.fractions, given.repeats or REPEATS[given.model])
    results = read_json(RESULTS) if RESULTS.exists() else {"models": {}}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=False, capture_output=True, text=True).stdout.strip()
    of_model = {"commit": commit, "cores": os.cpu_count(), "validation_images": spec.counts["validation"]}
    of_model |= summarise(points, spec.counts["validation"])
    results["models"][given.model] = of_model
    write_json(results, RESULTS)
    draw_all(results, PICTURE)
    print(of_model["conclusion"])


if __name__ == "__main__":
    run(main)
