"""The pipeline with several seeds, that is splits and initial weights: python -m benchmarks.seeds 1 2 3

Each seed runs in a clone that shares this checkout's cache. DVC 3.67 restores from it only runs of stages without an
output outside of the cache that is neither metric nor plot, which most of ours have: they run again. Results are
written after each seed; --resume keeps those that there are of the same commit and parameters. Another recipe than the
one in params.yaml has its results beside those of the default, under a name:

    python -m benchmarks.seeds 1 2 3 --name slow --preset slow.yaml -S finetune.epochs=60

What differs from a recipe in few stages is best run in the same clones, where the others need not run again:

    python -m benchmarks.seeds 1 2 3 --also eight-views evaluate.views=8
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.clones import ROOT, SCRATCH, clone_into, committed, committed_params, environment
from transfer.core.errors import UserError, run
from transfer.core.files import read_json, write_json
from transfer.core.params import Params
from transfer.core.strict import validate
from transfer.overrides import differences, overlaid
from transfer.results.performance import MODELS

RESULTS = ROOT / "benchmarks/results"
DEFAULT_SEEDS = (1, 2, 3)

Scores = dict[str, dict[str, float]]  # of each model


@dataclass(frozen=True)
class Recipe:
    """The content of params.yaml but for the seed, what of it differs from the default, and where results go."""

    params: dict[str, Any]
    overrides: dict[str, Any]
    path: Path


def results_file(name: str | None) -> Path:
    """Return where the results of a recipe stand; the default recipe has no name.

    Raises:
        UserError: a name that is not of small letters, digits and hyphens.
    """
    if name is None:
        return RESULTS / "seeds.json"
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise UserError(f"--name: expected small letters, digits and hyphens, received {name!r}")
    return RESULTS / f"seeds-{name}.json"


def scores_of(project: Path) -> Scores:
    """Return every number that evaluate wrote of each model, by name."""
    scores = {}
    for model in MODELS:
        values = read_json(project / f"metrics/evaluate/{model}.json")
        scores[model] = {name: float(value) for name, value in values.items() if type(value) in (int, float)}
    return scores


def run_seed(params: Sequence[dict[str, Any]], folder: Path) -> list[Scores]:
    """Run the pipeline in a clone, with one content of params.yaml after the other, and return the scores of each.

    The stage export is left out.

    Raises:
        UserError: DVC or a stage failed.
    """
    clone, scores = folder / "clone", []
    clone_into(clone)
    for values in params:
        (clone / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        command = ["dvc", "repro", "compare"]
        done = subprocess.run(command, cwd=clone, env=environment(), check=False, stdout=sys.stderr)
        if done.returncode:
            raise UserError(
                f"seed {values['seed']}: dvc repro ended with status {done.returncode}; its output is above"
            )
        scores.append(scores_of(clone))
    return scores


def mean_and_sd(values: Sequence[float], digits: int) -> dict[str, float | None]:
    """Return mean and standard deviation (n − 1; None of a single value), rounded."""
    sd = round(statistics.stdev(values), digits) if len(values) > 1 else None
    return {"mean": round(statistics.mean(values), digits), "sd": sd}


def summarise(scores: dict[str, Scores]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return mean and standard deviation (n − 1; None of a single seed) of the scores that all seeds have.

    Args:
        scores: of each model, for each seed.
    """
    summary: dict[str, dict[str, dict[str, float | None]]] = {}
    for model in next(iter(scores.values()), {}):
        of_model = [of_seed[model] for of_seed in scores.values()]
        names = [name for name in of_model[0] if all(name in values for values in of_model)]
        summary[model] = {}
        for name in names:
            summary[model][name] = mean_and_sd([values[name] for values in of_model], 4)
    return summary


def collected(commit: str, overrides: dict[str, Any], scores: dict[str, Scores]) -> dict[str, Any]:
    """Return what is written of all seeds so far."""
    return {
        "commit": commit,
        "overrides": overrides,
        "seeds": [int(seed) for seed in scores],
        "summary": summarise(scores),
        "scores": scores,
    }


def kept(path: Path, commit: str, overrides: dict[str, Any]) -> dict[str, Scores]:
    """Return the scores of the seeds in a file that are of this commit and these parameters."""
    if not path.exists():
        return {}
    old = read_json(path)
    if (old.get("commit"), old.get("overrides")) != (commit, overrides):
        print(f"{path.name}: its seeds are of another commit or other parameters, and run again", file=sys.stderr)
        return {}
    scores: dict[str, Scores] = old["scores"]
    return scores


def run_seeds(seeds: Sequence[int], recipes: Sequence[Recipe], resume: bool) -> int:
    """Run the seeds that have no results of every recipe, and write them after each. Return how many failed."""
    commit = committed()
    scores = [kept(recipe.path, commit, recipe.overrides) if resume else {} for recipe in recipes]
    failed = 0
    for seed in [seed for seed in dict.fromkeys(seeds) if any(str(seed) not in of_recipe for of_recipe in scores)]:
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            try:
                found = run_seed([{**recipe.params, "seed": seed} for recipe in recipes], Path(folder))
            except UserError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
                failed += 1
                continue
        for recipe, of_recipe, of_seed in zip(recipes, scores, found, strict=True):
            of_recipe[str(seed)] = of_seed
            write_json(collected(commit, recipe.overrides, of_recipe), recipe.path)
            print(f"seed {seed}: {recipe.path.stem}: {of_seed['finetuned']}", file=sys.stderr, flush=True)
    return failed


def recipe_of(name: str | None, preset: Path | None, assignments: Sequence[str]) -> Recipe:
    """Return the recipe of that name, with a preset and assignments laid over params.yaml as it is committed.

    Raises:
        UserError: an override that params.yaml cannot take, or one without a name for the results.
    """
    default = committed_params()
    params = overlaid(default, preset, assignments)
    validate(Params, params, Path("params.yaml"))
    overrides = differences(default, params)
    if overrides and name is None:
        raise UserError(f"--name: expected one for a recipe that differs from params.yaml, in {', '.join(overrides)}")
    return Recipe(params, overrides, results_file(name))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.seeds", description="The pipeline with several seeds.")
    parser.add_argument("seeds", nargs="*", type=int, default=DEFAULT_SEEDS, metavar="SEED")
    parser.add_argument("--resume", action="store_true", help="run only seeds without a result at this commit")
    parser.add_argument("--name", help="of the recipe: results go to seeds-NAME.json")
    parser.add_argument("--preset", type=Path, metavar="FILE", help="YAML, laid over params.yaml")
    parser.add_argument("-S", action="append", default=[], dest="assignments", metavar="KEY=VALUE")
    parser.add_argument(
        "--also",
        action="append",
        nargs="+",
        default=[],
        metavar=("NAME", "KEY=VALUE"),
        help="another recipe, laid over the first, to run after it in the same clone",
    )
    return parser.parse_args()


def main() -> None:
    """Run the seeds that are asked for, and print their means and standard deviations.

    Raises:
        UserError: see `recipe_of`; or a seed failed.
    """
    given = _arguments()
    recipes = [recipe_of(given.name, given.preset, given.assignments)]
    recipes += [recipe_of(name, given.preset, [*given.assignments, *more]) for name, *more in given.also]
    SCRATCH.mkdir(exist_ok=True)
    if failed := run_seeds(given.seeds, recipes, given.resume):
        raise UserError(f"expected a result of every seed, received none of {failed}")
    for recipe in recipes:
        print(recipe.path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
