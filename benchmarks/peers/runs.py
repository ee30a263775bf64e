"""Run peers and pipeline with several seeds, score them alike, write benchmarks/results/peers.json.

Each seed is a clone of what is committed, in which preprocess makes the records that all train on. Results are written
after each run, so that --resume goes on where a run was cut off.

A peer that would take long here may train elsewhere: what its job wrote there (see `benchmarks.peers.jobs`), brought to
FOLDER/PEER-SEED, is scored with --outputs FOLDER. Its scores count, and its seconds and memory only if it was no GPU's.
Where other work runs beside, --untimed leaves the seconds out; the pipeline's scores are then those that
benchmarks.seeds found, where it has the seed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.clones import ROOT, SCRATCH, clone_into, committed, git
from benchmarks.machine import vector_instructions
from benchmarks.matrix import small_params, write_params
from benchmarks.peers import ours
from benchmarks.peers.jobs import CLASSES, Job, predictions_file, write_pixels
from benchmarks.readme import peers_markdown
from benchmarks.seeds import mean_and_sd, results_file
from transfer.core.cuts import follow_backbone
from transfer.core.errors import UserError
from transfer.core.files import read_json, write_json
from transfer.core.spec import Spec
from transfer.evaluation.judge import predictions_of
from transfer.evaluation.scores import Predictions, score
from transfer.networks.backbones.registry import BACKBONES
from transfer.networks.backbones.weights import PackagedWeights
from transfer.records.tfrecords import read_records
from transfer.training.recipe import FEW, planned_epochs

RESULTS = ROOT / "benchmarks/results/peers.json"
SMOKE_RESULTS = SCRATCH / "peers-smoke.json"
TORCH_PYTHON = ROOT / ".venv-peers/bin/python"
BACKBONE = "efficientnet_lite0"
SEEDS = (1, 2, 3)
SMOKE = {"image_size": 96, "max_images": 64}
SMOKE_SCALE = 0.01  # of each recipe's epochs: one
READ_BATCH = 256  # images
DIGITS = {"accuracy": 4, "weighted": 4, "f1": 4, "auc": 4, "val_accuracy": 4, "seconds": 1, "peak_memory_bytes": 0}
"""The figures of a run that are summed up, and to how many digits."""


@dataclass(frozen=True)
class Peer:
    """What it is called, the arguments of Python that start it (a job's file follows), and whether it needs PyTorch."""

    title: str
    command: tuple[str, ...]
    torch: bool = False


PEERS = {
    "tutorial": Peer("TensorFlow's transfer-learning tutorial", ("-m", "benchmarks.peers.tutorial")),
    "logistic": Peer("scikit-learn: logistic regression on features", ("-m", "benchmarks.peers.features", "logistic")),
    "svm": Peer("scikit-learn: SVM (RBF) on features", ("-m", "benchmarks.peers.features", "svm")),
    "timm": Peer("PyTorch: fine-tuning in timm's manner", ("-m", "benchmarks.peers.finetuning"), torch=True),
}
OURS = {model: f"this pipeline: `{model}`" for model in ours.MODELS}
TITLES = {**{name: peer.title for name, peer in PEERS.items()}, **OURS}
CHOICES = (*PEERS, "ours")


@dataclass(frozen=True)
class Settings:
    """What is the same for all runs of a table: `image_size` (pixels) and `max_images` of params.yaml, and whether the
    pipeline is made small, to try whether all works.
    """

    smoke: bool
    image_size: int
    max_images: int | None


@dataclass(frozen=True)
class Prepared:
    """What the runs of a seed have in common: a clone with records and weights, its images as arrays, the seconds that
    making these took, what the splits' labels are, the share of the epochs to train, and a folder with what peers wrote
    elsewhere.
    """

    seed: int
    epochs_scale: float
    clone: Path
    arrays: Path
    spec: Spec
    truths: dict[str, Predictions]
    seconds: float
    outputs: Path | None = None

    def output(self, peer: str) -> Path:
        """Return the folder with what a peer gives back."""
        return self.outputs / f"{peer}-{self.seed}" if self.outputs else self.arrays / peer


def read_params(clone: Path) -> dict[str, Any]:
    """Return the content of a clone's params.yaml, with the image size and weights of its backbone for auto.

    Raises:
        UserError: another backbone or other weights than those that PyTorch can be given as well.
    """
    params: dict[str, Any] = follow_backbone(yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8")))
    for key, expected in (("backbone", BACKBONE), ("weights", "packaged")):
        if params[key] != expected:
            raise UserError(f"params.yaml: {key}: expected {expected} for the peers, received {params[key]!r}")
    return params


def seed_params(params: dict[str, Any], seed: int, smoke: bool, scale: float) -> dict[str, Any]:
    """Return the content of params.yaml for one seed, with that share of its epochs."""
    if smoke:
        return {**small_params(params, params["dataset"], BACKBONE), **SMOKE, "seed": seed}
    result = {**params, "seed": seed}
    if scale != 1:
        for section, model in (("head", "head"), ("finetune", "finetuned")):
            whole = planned_epochs(params[section]["epochs"], model, FEW)
            result[section] = {**params[section], "epochs": max(1, round(whole * scale))}
    return result


def export(records: Path, arrays: Path, spec: Spec) -> tuple[dict[str, Predictions], float]:
    """Write the records' images as arrays, those of the test split without labels.

    Returns:
        The labels of the validation and the test split, as `Predictions` without any; and the seconds that reading and
        writing the training and the validation split took, which count for every peer.

    Raises:
        UserError: other than two classes, or damaged records.
    """
    if len(spec.classes) != CLASSES:
        raise UserError(f"{records}: expected {CLASSES} classes for the peers, received {', '.join(spec.classes)}")
    truths, seconds = {}, 0.0
    for name in ("train", "validation", "test"):
        start = time.perf_counter()
        batches = list(read_records(records / name, spec, READ_BATCH))
        labels = np.concatenate([batch.labels for batch in batches])
        pixels = np.concatenate([batch.pixels for batch in batches])
        write_pixels(pixels, None if name == "test" else labels, arrays, name)
        seconds += 0.0 if name == "test" else time.perf_counter() - start
        truths[name] = predictions_of(batches, np.empty((0, CLASSES), np.float32))
    return truths, seconds


def prepare(seed: int, folder: Path, smoke: bool, scale: float, outputs: Path | None = None) -> Prepared:
    """Clone what is committed, make records and weights there, and write the arrays.

    Raises:
        UserError: a stage failed, or the params are not for the peers.
    """
    clone, arrays = folder / f"seed-{seed}", folder / f"arrays-{seed}"
    clone_into(clone)
    write_params(clone, seed_params(read_params(clone), seed, smoke, scale))
    ours.run_stages(clone, "preprocess", "weights")
    spec = Spec.read(clone / "data/records/spec.json")
    truths, seconds = export(clone / "data/records", arrays, spec)
    return Prepared(seed, scale, clone, arrays, spec, truths, seconds, outputs)


def packaged_file() -> Path:
    """Return the packaged PyTorch file of the backbone's weights, checked.

    Raises:
        UserError: the package is not installed, or its file is another.
    """
    weights = BACKBONES[BACKBONE].weights["packaged"]
    assert isinstance(weights, PackagedWeights)
    return weights.path()


def score_split(truth: Predictions, probabilities: Path, spec: Spec) -> dict[str, float]:
    """Score a peer's probabilities for a split with the function that scores the pipeline's models.

    Raises:
        UserError: not one row of finite probabilities for each image.
    """
    values = np.load(probabilities)
    expected = (len(truth.labels), CLASSES)
    if values.shape != expected or not np.isfinite(values).all():
        raise UserError(f"{probabilities}: expected finite probabilities {expected}, received {values.shape}")
    return score(replace(truth, probabilities=values), CLASSES, spec.positive_class)


def train_peer(name: str, prepared: Prepared) -> None:
    """Run a peer in a process of its own, with the clone's code.

    Raises:
        UserError: it ended with another status than 0.
    """
    peer, output = PEERS[name], prepared.output(name)
    weights = packaged_file() if peer.torch else prepared.clone / "models/backbone.weights.h5"
    job = Job(str(prepared.arrays), str(weights), str(output), prepared.seed, prepared.epochs_scale)
    file = output.with_suffix(".job.json")
    job.write(file)
    command = [str(TORCH_PYTHON) if peer.torch else sys.executable, *peer.command, str(file)]
    done = subprocess.run(command, cwd=prepared.clone, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(peer.command)}: expected exit status 0, received {done.returncode}")


def run_peer(name: str, prepared: Prepared) -> dict[str, Any]:
    """Run a peer, unless it was run elsewhere, and return its figures.

    Raises:
        UserError: it failed, or its predictions cannot be scored.
    """
    if prepared.outputs is None:
        train_peer(name, prepared)
    output = prepared.output(name)
    if not (output / "cost.json").exists():
        raise UserError(f"{output}: expected what the peer wrote, cost.json and probabilities, received none")
    cost = read_json(output / "cost.json")
    cost["seconds"] = round(cost["seconds"] + prepared.seconds, 3)
    if "device" in cost:
        cost = {name: value for name, value in cost.items() if name not in ("seconds", "peak_memory_bytes")}
    scores = score_split(prepared.truths["test"], predictions_file(output, "test"), prepared.spec)
    validation = score_split(prepared.truths["validation"], predictions_file(output, "validation"), prepared.spec)
    figures = {name: scores[name] for name in ("accuracy", "weighted", "f1", "auc")}
    figures["val_accuracy"] = validation["accuracy"]
    return {**{name: round(value, 4) for name, value in figures.items()}, **cost}


def run_choice(choice: str, prepared: Prepared, timed: bool) -> dict[str, dict[str, Any]]:
    """Run a peer or the pipeline, and return a cell for each row of the table; one that failed has just a status.

    If its seconds do not count, the pipeline is not run with a seed with which benchmarks.seeds has run it.
    """
    try:
        if choice != "ours":
            cells = {choice: run_peer(choice, prepared)}
        else:
            known = None if timed or prepared.epochs_scale != 1 else ours.found(results_file(None), prepared.seed)
            cells = known or ours.run_pipeline(prepared.clone)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return {row: {"status": f"error: {error}"[:300]} for row in rows_of([choice])}
    return {row: {"status": "ok", **cell} for row, cell in cells.items()}


def rows_of(choices: Iterable[str]) -> list[str]:
    """Return the rows of the table that peers, or the pipeline, fill."""
    return [row for choice in choices for row in (OURS if choice == "ours" else [choice])]


def summary(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return mean and standard deviation (None of a single run) of each figure over the seeds that ended well and
    have it.
    """
    done = [run for run in runs.values() if run["status"] == "ok"]
    if not done:
        return {}
    result: dict[str, dict[str, float | None]] = {}
    for name, digits in DIGITS.items():
        if values := [run[name] for run in done if name in run]:
            result[name] = mean_and_sd(values, digits)
    return result


def started(
    old: dict[str, Any], settings: Settings, cells: set[tuple[str, str]], resumed: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the results to add to.

    Args:
        old: content of the file, {} where there is none.
        settings: of this run.
        cells: row and seed of what is to be run; the other cells are kept.
        resumed: of these too is kept what ended well with these values (commit, epochs_scale); None: nothing.

    Raises:
        UserError: the old results are of other settings.
    """
    if old and old["settings"] != asdict(settings):
        raise UserError(
            f"{RESULTS.name}: expected results of {asdict(settings)} to add to, received those of {old['settings']}; "
            "move them away to begin anew"
        )

    def keep(row: str, seed: str, run: dict[str, Any]) -> bool:
        same = resumed is not None and all(run[name] == value for name, value in resumed.items())
        return (row, seed) not in cells or (run["status"] == "ok" and same)

    rows: dict[str, Any] = {}
    for row, title in TITLES.items():
        before = old["rows"].get(row, {"runs": {}})["runs"] if old else {}
        kept = {seed: run for seed, run in before.items() if keep(row, seed, run)}
        if kept or any(row == wanted for wanted, _ in cells):
            rows[row] = {"title": title, "runs": kept, "summary": summary(kept)}
    machine = {"cores": os.cpu_count(), "vector_instructions": vector_instructions()}
    return {**machine, "settings": asdict(settings), "rows": rows}


def left_to_run(results: dict[str, Any], choices: Sequence[str], seed: int) -> list[str]:
    """Return the peers that have no result for a seed yet."""
    return [c for c in choices if any(str(seed) not in results["rows"][row]["runs"] for row in rows_of([c]))]


def failed(results: dict[str, Any]) -> list[str]:
    """Name what did not end well, as ROW SEED."""
    rows = results["rows"].items()
    return [f"{name} {seed}" for name, row in rows for seed, run in row["runs"].items() if run["status"] != "ok"]


def add(results: dict[str, Any], row: str, seed: int, run: dict[str, Any]) -> None:
    """Add a run to the results and sum its row up anew."""
    entry = results["rows"][row]
    runs = {**entry["runs"], str(seed): run}
    entry["runs"] = {seed: runs[seed] for seed in sorted(runs, key=int)}
    entry["summary"] = summary(runs)
    print(f"seed {seed}: {row}: {run}", file=sys.stderr, flush=True)


def run_seed(choices: list[str], prepared: Prepared, results: dict[str, Any], path: Path, timed: bool) -> None:
    """Run what is wanted with one seed, and write the results after each, with its seconds if they are to count."""
    made_with = {"commit": git("rev-parse", "HEAD"), "epochs_scale": prepared.epochs_scale}
    for choice in choices:
        print(f"seed {prepared.seed}: {choice}", file=sys.stderr, flush=True)
        for row, cell in run_choice(choice, prepared, timed).items():
            kept = {name: value for name, value in cell.items() if timed or name != "seconds"}
            add(results, row, prepared.seed, {**made_with, **kept})
        write_json(results, path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description="What a user would pick instead.")
    parser.add_argument("--peers", nargs="+", choices=CHOICES, default=CHOICES)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--epochs-scale", type=float, default=1.0, help="share of the epochs of each recipe (default 1)"
    )
    parser.add_argument("--outputs", type=Path, metavar="FOLDER", help="score what peers wrote elsewhere, run none")
    parser.add_argument("--untimed", action="store_true", help="leave seconds out: other work runs beside")
    parser.add_argument("--smoke", action="store_true", help=f"one epoch on a few small images, into {SMOKE_RESULTS}")
    parser.add_argument("--resume", action="store_true", help="run only what has no result, or failed, at this commit")
    return parser.parse_args()


def check(arguments: argparse.Namespace) -> None:
    """Check what is asked for before any work.

    Raises:
        UserError: a share of the epochs that is not above 0, the pipeline among what was trained elsewhere, no folder
            with that, or no environment with PyTorch for a peer that needs it.
    """
    if not arguments.epochs_scale > 0:
        raise UserError(f"--epochs-scale: expected a number above 0, received {arguments.epochs_scale}")
    if arguments.outputs and "ours" in arguments.peers:
        raise UserError("--outputs: expected --peers without ours, which is always run, received ours")
    if arguments.outputs and not arguments.outputs.is_dir():
        raise UserError(f"--outputs: expected a folder, received {arguments.outputs}, which is none")
    torch = any(PEERS[name].torch for name in arguments.peers if name in PEERS)
    if torch and not arguments.outputs and not TORCH_PYTHON.exists():
        raise UserError(
            f"expected PyTorch's environment, {TORCH_PYTHON}, received none: make bench NAME=peers sets it up"
        )


def main() -> None:
    """Run the peers and seeds that are asked for, print the table, and exit with 1 if one failed.

    Raises:
        UserError: see `check`; or there are results of other settings, or params.yaml is not for the peers.
    """
    arguments = _arguments()
    check(arguments)
    params = {**read_params(ROOT), **(SMOKE if arguments.smoke else {})}
    settings = Settings(arguments.smoke, params["image_size"], params["max_images"])
    scale = SMOKE_SCALE if arguments.smoke else arguments.epochs_scale
    path = SMOKE_RESULTS if arguments.smoke else RESULTS
    commit = committed()
    cells = {(row, str(seed)) for row in rows_of(arguments.peers) for seed in arguments.seeds}
    resumed = {"commit": commit, "epochs_scale": scale} if arguments.resume else None
    results = started(read_json(path) if path.exists() else {}, settings, cells, resumed)
    SCRATCH.mkdir(exist_ok=True)
    for seed in arguments.seeds:
        if choices := left_to_run(results, arguments.peers, seed):
            with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
                prepared = prepare(seed, Path(folder), arguments.smoke, scale, arguments.outputs)
                run_seed(choices, prepared, results, path, not arguments.untimed)
    print(peers_markdown(results))
    sys.exit(1 if failed(results) else 0)
