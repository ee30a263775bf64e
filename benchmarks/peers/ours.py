"""The pipeline's own models, trained anew in the same clone, with the figures that compare would read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.clones import committed_params
from benchmarks.matrix import repro
from transfer.core.errors import UserError
from transfer.core.files import read_json
from transfer.results.performance import TRAINING

MODELS = ("head", "finetuned")
MEASURED_ANEW = ("embed", "train_head", "evaluate@head", "finetune", "evaluate@finetuned")
SCORES = ("accuracy", "weighted", "f1", "auc", "val_accuracy")


def run_stages(clone: Path, *targets: str) -> None:
    """Run dvc repro.

    Raises:
        UserError: a stage failed.
    """
    run = repro(clone, *targets)
    if run.status != "ok":
        raise UserError(f"dvc repro {' '.join(targets)}: expected it to end well, received {run.status}")


def figures(clone: Path, model: str) -> dict[str, Any]:
    """Return scores, seconds and peak memory (bytes) of a model, as the Model Performance Table counts training: the
    passes of the trunk and the training of the head that it starts from included. Each is a process of its own, so that
    the memory is the largest of them.
    """
    scores: Mapping[str, Any] = read_json(clone / f"metrics/evaluate/{model}.json")
    costs = [read_json(clone / f"metrics/cost/{name}.json") for name in TRAINING[model]]
    return {
        **{name: scores[name] for name in SCORES},
        "seconds": round(sum(cost["seconds"] for cost in costs), 3),
        "peak_memory_bytes": max(cost["peak_memory_bytes"] for cost in costs),
        "best_epoch": read_json(clone / f"metrics/train/{model}.json")["best_epoch"],
    }


def found(results: Path, seed: int) -> dict[str, dict[str, Any]] | None:
    """Return the scores of each model that benchmarks.seeds found with a seed, and the commit that it ran.

    Args:
        results: of the default recipe.
        seed: the seed.

    Returns:
        None where it did not run with this seed, or with other params than those that are committed now.
    """
    seeds = read_json(results) if results.exists() else {"scores": {}}
    if str(seed) not in seeds["scores"] or committed_params(seeds["commit"]) != committed_params():
        return None
    scores: dict[str, dict[str, Any]] = seeds["scores"][str(seed)]
    return {model: {"commit": seeds["commit"], **{name: scores[model][name] for name in SCORES}} for model in MODELS}


def run_pipeline(clone: Path) -> dict[str, dict[str, Any]]:
    """Embed, train and evaluate anew, whatever is in DVC's cache, and return the figures of each model.

    Raises:
        UserError: a stage failed.
    """
    for stage in MEASURED_ANEW:
        run_stages(clone, "-s", "-f", stage)
    return {model: figures(clone, model) for model in MODELS}
