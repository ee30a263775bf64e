"""Recipes tried by cross-validation inside the training part of a seed: python -m benchmarks.tries NAME …

No try opens the test split: folds are drawn from the training and validation split together. Activations of a size and
a cut are computed once, for all tries and folds, into .bench/tries. Results are written after each try.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from benchmarks.clones import ROOT, SCRATCH, clone_into, environment
from stages import finetune, train_head
from transfer.core.cuts import resolve_cut
from transfer.core.files import read_json, write_json
from transfer.core.params import Params
from transfer.core.spec import Spec
from transfer.core.strict import load_yaml, validate
from transfer.evaluation.judge import predictions_of
from transfer.evaluation.scores import Predictions, score
from transfer.inference.embed import EmbedRows, Place, TrunkEngine, backbone_trunk, embed
from transfer.networks.network import Network, build
from transfer.networks.seeds import fix_seeds
from transfer.overrides import overlaid
from transfer.records.activations import Activations, open_activations
from transfer.records.tfrecords import read_records
from transfer.training.batches import EVALUATION_BATCH, ViewBatches
from transfer.training.loop import predict, train
from transfer.training.recipe import Job
from transfer.training.targets import make_targets
from transfer.workers.runners import LocalRunner

RESULTS = ROOT / "benchmarks/results/tries.json"
FOLDER = SCRATCH / "tries"
FOLDS = 6  # a fold is then an eighth of all images, as large as the validation split of params.yaml
VIEWS = 8

AVERAGED = ["labels=soft", "finetune.averaging=0.98"]
AVERAGE = ["head.pooling=average"]
BOTH = ["head.pooling=average_max"]
EPOCHS_12 = ["finetune.epochs=12"]
EPOCHS_18 = ["finetune.epochs=18"]
TRIES: dict[str, list[str]] = {
    "hard": ["labels=hard", "finetune.averaging=0", *AVERAGE, *EPOCHS_18],
    "soft-averaged": [*AVERAGED, *AVERAGE, *EPOCHS_18],
    "shorter": [*AVERAGED, *AVERAGE, *EPOCHS_12],
    "both-pools-shorter": [*AVERAGED, *BOTH, *EPOCHS_12],
    "both-pools": [*AVERAGED, *BOTH, *EPOCHS_18],
    "both-pools-shorter-300px": [*AVERAGED, *BOTH, *EPOCHS_12, "image_size=300"],
    "both-pools-shorter-lower-cut": [*AVERAGED, *BOTH, *EPOCHS_12, "finetune.cut=block4"],
    "both-pools-lite2": [*AVERAGED, *BOTH, *EPOCHS_18, "backbone=efficientnet_lite2", "image_size=260"],
}
"""What each try lays over params.yaml, as `dvc exp run -S` takes it; what may once be another default is named too."""


def params_of(assignments: list[str]) -> Params:
    """Return params.yaml with changes laid over it."""
    path = ROOT / "params.yaml"
    return validate(Params, overlaid(load_yaml(path), None, assignments), path)


@dataclass(frozen=True)
class Images:
    """The images that folds are drawn from: what describes the records, and what they say of each image, in order."""

    spec: Spec
    truth: Predictions


def records_of(params: Params) -> Path:
    """Return a folder with the records of this size, made in a clone where they are not there yet, and the weights."""
    clone = FOLDER / f"{params.backbone}-{params.image_size}-{params.seed}"
    if not clone.exists():
        clone_into(clone)
        path = clone / "params.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        values |= {"image_size": params.image_size, "backbone": params.backbone, "seed": params.seed}
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        subprocess.run(
            ["dvc", "repro", "preprocess", "weights"], cwd=clone, env=environment(), check=True, stdout=sys.stderr
        )
    return clone


def images_of(clone: Path) -> Images:
    """Read what is known of the training and validation images, without their pixels."""
    spec = Spec.read(clone / "data/records/spec.json")
    batches = [
        replace(batch, pixels=batch.pixels[:0])
        for split in ("train", "validation")
        for batch in read_records(clone / f"data/records/{split}", spec, EVALUATION_BATCH)
    ]
    return Images(spec, predictions_of(batches, np.empty((0, len(spec.classes)), np.float32)))


def activations_of(clone: Path, params: Params, spec: Spec, cut: str) -> list[Activations]:
    """Return the activations of the training and validation images at a cut, in all views, computed once."""
    name = f"{cut}-{params.head.pooling}" if cut == "top" else cut
    folders = [clone / f"activations/{name}/{split}" for split in ("train", "validation")]
    if not folders[-1].exists():
        weights = clone / "models/backbone.weights.h5"
        trunk = backbone_trunk(params.backbone, spec.image_size, weights, (cut,), params.head.pooling)
        train, validation = (clone / f"data/records/{folder.name}" for folder in folders)
        for records, folder in zip((train, validation), folders, strict=True):
            engine = TrunkEngine(trunk, params.engine, train, spec)
            embed(LocalRunner(), EmbedRows(engine, records, (Place(folder, VIEWS),)))
    return [open_activations(folder) for folder in folders]


def _rows(splits: list[Activations], rows: NDArray[np.int64], views: int) -> list[NDArray[np.float16]]:
    """Take rows of the training and validation split together, in each view, into memory."""
    first = len(splits[0].labels)
    return [
        np.concatenate([splits[0].views[v][rows[rows < first]], splits[1].views[v][rows[rows >= first] - first]])
        for v in range(views)
    ]


@dataclass(frozen=True)
class Trial:
    """What a fold needs: parameters, images, and the activations at both cuts."""

    params: Params
    images: Images
    pooled: list[Activations]
    cut: list[Activations]
    clone: Path

    def _batches(
        self, activations: list[Activations], rows: NDArray[np.int64], validation: NDArray[np.int64]
    ) -> tuple[ViewBatches, ViewBatches]:
        truth = self.images.truth
        targets = make_targets(truth.labels, truth.soft_labels, self.images.spec.classes, self.params.labels)
        batches = ViewBatches(_rows(activations, rows, VIEWS), targets[rows], self.params.batch_size, self.params.seed)
        return batches, ViewBatches(_rows(activations, validation, 1), targets[validation], EVALUATION_BATCH, None)

    def head(self, rows: NDArray[np.int64], validation: NDArray[np.int64]) -> Network:
        """Train the head on a fold."""
        network = build(train_head.architecture_of(self.params, self.images.spec))
        network.backbone.load_weights(self.clone / "models/backbone.weights.h5")
        data = self._batches(self.pooled, rows, validation)
        recipe = train_head.recipe_of(self.params)
        train(Job("head", network.top, self.images.spec, recipe, FOLDER / "curves/head"), *data)
        return network

    def finetuned(self, rows: NDArray[np.int64], validation: NDArray[np.int64]) -> tuple[keras.Model, dict[str, Any]]:
        """Fine-tune on a fold; return the part above the cut, and what training came to."""
        params, spec = self.params, self.images.spec
        whole = self.head(rows, validation).whole.get_weights()
        network = build(train_head.architecture_of(params, spec), params.finetune.cut)
        network.whole.set_weights(whole)
        data = self._batches(self.cut, rows, validation)
        recipe = finetune.recipe_of(params)
        outcome = train(Job("finetune", network.top, spec, recipe, FOLDER / "curves/finetuned"), *data)
        seconds = float(np.median(outcome.seconds_per_epoch))
        return network.top, {**outcome.figures(), "seconds_per_epoch": round(seconds, 2)}

    def fold(
        self, rows: NDArray[np.int64], validation: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return probabilities of the fold's validation images, (views, n, classes), and what training came to."""
        fix_seeds(self.params.seed)
        top, figures = self.finetuned(rows, validation)
        blank = np.zeros((len(validation), len(self.images.spec.classes)), np.float32)
        views = _rows(self.cut, validation, VIEWS)
        return np.stack([predict(top, ViewBatches([view], blank, EVALUATION_BATCH, None)) for view in views]), figures


def scored(images: Images, rows: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, float]:
    """Score the probabilities (n, classes) of some images."""
    truth = images.truth
    names = [truth.images[row] for row in rows]
    labels, soft_labels, confidence = truth.labels[rows], truth.soft_labels[rows], truth.confidence[rows]
    predictions = Predictions(names, labels, soft_labels, confidence, probabilities)
    figures = score(predictions, len(images.spec.classes), images.spec.positive_class)
    return {name: round(value, 4) for name, value in figures.items()}


def run_try(name: str, folds: int) -> dict[str, Any]:
    """Cross-validate a try on the first few folds; its probabilities are kept in .bench/tries/NAME.npz."""
    start = time.monotonic()
    params = params_of(TRIES[name])
    clone = records_of(params)
    images = images_of(clone)
    cuts = ("top", resolve_cut(params.backbone, params.finetune.cut))
    pooled, cut = (activations_of(clone, params, images.spec, name) for name in cuts)
    trial = Trial(params, images, pooled, cut, clone)
    truth = images.truth
    strata = truth.labels + 2 * np.nan_to_num(np.round(3 * truth.soft_labels)).astype(np.int64)
    drawn = list(StratifiedKFold(FOLDS, shuffle=True, random_state=params.seed).split(strata, strata))[:folds]
    done = []
    for rows, validation in drawn:  # both in ascending order
        done.append((validation, *trial.fold(rows, validation)))
        one = scored(images, done[-1][0], done[-1][1][0])
        print(f"{name}: {one}; epoch {done[-1][2]['best_epoch']}, {done[-1][2]['seconds_per_epoch']} s", flush=True)
    validation = np.concatenate([part[0] for part in done])
    probabilities = np.concatenate([part[1] for part in done], axis=1)
    np.savez(FOLDER / f"{name}.npz", rows=validation, probabilities=probabilities)
    return {
        "changes": TRIES[name],
        "images": len(validation),
        "one_view": scored(images, validation, probabilities[0]),
        "all_views": scored(images, validation, probabilities.mean(axis=0)),
        "folds": [part[2] for part in done],
        "seconds": round(time.monotonic() - start, 1),
    }


def main() -> None:
    """Run the tries that are asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.tries", description=__doc__)
    parser.add_argument("tries", nargs="+", choices=tuple(TRIES))
    parser.add_argument("--folds", type=int, default=3, choices=range(1, FOLDS + 1))
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in arguments.tries:
        result = run_try(name, arguments.folds)
        results = read_json(RESULTS) if RESULTS.exists() else {}
        write_json({**results, name: result}, RESULTS)
        print(f"{name}: one view {result['one_view']}\n{' ' * len(name)}  all views {result['all_views']}", flush=True)


if __name__ == "__main__":
    main()
