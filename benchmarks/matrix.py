"""Every backbone on three small datasets, each through the whole pipeline: python -m benchmarks.matrix

Each dataset gets a clone of what is committed, in which the backbones run one after the other. What does not depend on
the backbone (download, preprocess, the baselines) is computed once a dataset, and timed apart. Results are written
after each backbone, so that --resume goes on where a run was cut off.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.clones import ROOT, SCRATCH, clone_into, committed, environment
from benchmarks.datasets import WRITERS
from benchmarks.readme import matrix_cell, matrix_markdown
from transfer.core.cuts import CUTS, LITE_REPEATS
from transfer.core.files import read_json, write_json
from transfer.overrides import merged

RESULTS = ROOT / "benchmarks/results/matrix.json"
CACHE = SCRATCH / "cache/matrix"  # emptied at the start: DVC would restore what an earlier run has left, in no time
DATASETS = ("elpv", *WRITERS)
PACKAGED = tuple(LITE_REPEATS)  # backbones whose trained weights a package carries; the others get random ones
SHARED = ("evaluate@ann", "evaluate@cnn")  # the last stages that do not depend on the backbone
SMALL: dict[str, Any] = {
    "image_size": 64,
    "batch_size": 32,
    "max_images": 240,
    "head": {"units": [32], "dropout": 0.0, "epochs": 12, "lr": 2e-3, "views": 1},
    "finetune": {"cut": "auto", "augment": "cached", "epochs": 3, "warmup": 0.3, "views": 1},
    "baselines": {
        "views": 1,
        "ann": {"image_size": 16, "units": [16], "epochs": 3},
        "cnn": {"image_size": 32, "filters": [8, 16], "epochs": 3},
    },
    "resamples": 100,
}
"""What differs from params.yaml, so that a backbone takes a minute."""


@dataclass(frozen=True)
class Run:
    """One call of dvc repro: "ok" or one line that says what went wrong, seconds, and the stages that ran."""

    status: str
    seconds: float
    stages: list[str]


def small_params(params: dict[str, Any], dataset: str, backbone: str) -> dict[str, Any]:
    """Return the content of params.yaml for one dataset (as params.yaml names it) and backbone, at a small size."""
    result = merged(params, SMALL, "benchmarks/matrix.py")
    weights = "packaged" if backbone in PACKAGED else "none"
    return {**result, "dataset": dataset, "backbone": backbone, "weights": weights}


def status_of(code: int, output: str) -> str:
    """Return "ok", or the line in which a stage, or else DVC, says what went wrong, of at most 300 characters."""
    if code == 0:
        return "ok"
    for pattern in (r"^error: (.+)$", r"^([\w.]+(?:Error|Exception)\b.*)$", r"^ERROR: (.+)$"):
        if found := re.findall(pattern, output, re.MULTILINE):
            return f"error: {found[-1].strip()}"[:300]
    return f"error: dvc repro ended with status {code}"


def repro(clone: Path, *targets: str) -> Run:
    """Run dvc repro in a clone; its output goes to standard error at the end, if it fails."""
    start = time.monotonic()
    done = subprocess.run(
        ["dvc", "repro", *targets],
        cwd=clone,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = round(time.monotonic() - start, 1)
    if done.returncode:
        print(done.stdout[-5000:], file=sys.stderr, flush=True)
    stages = re.findall(r"^Running stage '(.+)':$", done.stdout, re.MULTILINE)
    return Run(status_of(done.returncode, done.stdout), seconds, stages)


def prepare(dataset: str, folder: Path) -> tuple[Path, str]:
    """Clone what is committed into `folder`, with a cache of its own, and write the dataset.

    Returns the clone, and the dataset as its params.yaml names it.
    """
    clone = folder / dataset
    clone_into(clone, CACHE)
    (clone / "dvc.lock").unlink(missing_ok=True)
    if dataset not in WRITERS:
        return clone, f"data/cards/{dataset}.yaml"
    WRITERS[dataset](clone / "pictures" / dataset)
    return clone, f"pictures/{dataset}"


def chance(figures: dict[str, Any]) -> float:
    """Return the accuracy of saying the most frequent class each time, from what metrics/data.json counts."""
    counts = figures["classes"]["test"].values()
    return float(round(max(counts) / sum(counts), 4))


def accuracies(clone: Path, status: str) -> dict[str, float | None]:
    """Return the test accuracies of the trained head and the fine-tuned network; none of a run that failed."""
    if status != "ok":
        return {"head": None, "finetuned": None}
    return {model: read_json(clone / f"metrics/evaluate/{model}.json")["accuracy"] for model in ("head", "finetuned")}


def write_params(clone: Path, params: dict[str, Any]) -> None:
    """Write params.yaml."""
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def run_dataset(dataset: str, backbones: list[str], folder: Path, results: dict[str, Any], commit: str) -> None:
    """Run the pipeline with each backbone on a dataset, and write the results after each."""
    clone, given = prepare(dataset, folder)
    params = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))
    write_params(clone, small_params(params, given, backbones[0]))
    shared = repro(clone, *SHARED)
    cells = results["datasets"][dataset]
    best = chance(read_json(clone / "metrics/data.json")) if shared.status == "ok" else None
    if cells.get("chance") is None:  # otherwise a run goes on, and DVC has restored these from its cache
        cells.update(shared=asdict(shared), chance=best)
    for backbone in backbones:
        small = small_params(params, given, backbone)
        write_params(clone, small)
        run = repro(clone) if shared.status == "ok" else Run(shared.status, 0.0, [])
        scores = accuracies(clone, run.status)
        cells["backbones"][backbone] = {"commit": commit, **asdict(run), "weights": small["weights"], **scores}
        write_json(results, RESULTS)
        print(f"{dataset} {backbone}: {matrix_cell(cells['backbones'][backbone])}", flush=True)


def left_to_run(results: dict[str, Any], dataset: str, backbones: list[str], commit: str) -> list[str]:
    """Return the backbones that have no results on a dataset at a commit, or failed."""
    cells = results["datasets"].get(dataset, {"backbones": {}})["backbones"]
    done = [name for name, cell in cells.items() if cell["status"] == "ok" and cell["commit"] == commit]
    return [name for name in backbones if name not in done]


def started() -> dict[str, Any]:
    """Return the results to add to, in the order of the table: what is not measured again is kept, with its commit."""
    old = read_json(RESULTS)["datasets"] if RESULTS.exists() else {}
    found = {name: old.get(name, {"backbones": {}}) for name in DATASETS}
    return {"cores": os.cpu_count(), "params": SMALL, "datasets": found}


def failed(results: dict[str, Any]) -> list[str]:
    """Name what did not end well, as DATASET BACKBONE."""
    datasets = results["datasets"].items()
    return [
        f"{dataset} {name}"
        for dataset, cells in datasets
        for name, cell in cells["backbones"].items()
        if cell["status"] != "ok"
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.matrix", description="Every backbone on three small datasets.")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=DATASETS)
    parser.add_argument("--backbones", nargs="+", choices=tuple(CUTS), default=tuple(CUTS))
    parser.add_argument("--resume", action="store_true", help="run only what has no result, or failed, at this commit")
    return parser.parse_args()


def main() -> None:
    """Run the datasets and backbones that are asked for, print the table, and exit with 1 if one failed."""
    arguments = _arguments()
    commit = committed()
    SCRATCH.mkdir(exist_ok=True)
    results = started()
    if not arguments.resume:
        shutil.rmtree(CACHE, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        for dataset in arguments.datasets:
            wanted = list(arguments.backbones)
            left = left_to_run(results, dataset, wanted, commit) if arguments.resume else wanted
            if left:
                run_dataset(dataset, left, Path(folder), results, commit)
    print(matrix_markdown(results))
    sys.exit(1 if failed(results) else 0)


if __name__ == "__main__":
    main()
