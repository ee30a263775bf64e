"""A trained model on the images of all splits, from the pixels, as a user runs it."""

import dataclasses
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pandas as pd
from numpy.typing import NDArray

from transfer.core.arrays import Floats, Pixels
from transfer.core.cards import Card
from transfer.core.errors import UserError
from transfer.core.files import sha256_of
from transfer.core.packages import require_sha256
from transfer.core.spec import Spec
from transfer.evaluation.calibration import calibrate, temper
from transfer.evaluation.occlusion import Classify, occlusion_map
from transfer.evaluation.pictures import Mistake
from transfer.evaluation.prediction_cost import measure
from transfer.evaluation.scores import DIGITS, Predictions, operating_point, score
from transfer.inference.embed import in_runs
from transfer.inference.engines import EngineName, check_agreement, make_engine
from transfer.inference.openvino_engine import OpenVINOEngine
from transfer.networks.model_files import load
from transfer.networks.seeds import fix_seeds
from transfer.records.tfrecords import BATCH, Batch, collecting, network_inputs, normalise, read_records
from transfer.workers.work import Progress, Runner

CACHED_PATH_TOLERANCE = 0.02
"""Largest difference of a probability between the whole network from pixels and its top on cached activations, which
are rounded to float16 (11 bits); measured: 0.001 to 0.004."""


def predictions_of(batches: Sequence[Batch], probabilities: NDArray[np.float32]) -> Predictions:
    """Set probabilities (n, classes) beside what the records say of the same images."""
    return Predictions(
        [name for batch in batches for name in batch.images],
        np.concatenate([batch.labels for batch in batches]),
        np.concatenate([batch.soft_labels for batch in batches]),
        np.concatenate([batch.confidence for batch in batches]),
        probabilities,
    )


class Evaluator:
    """A model ready to predict, on the engine that params.yaml names. Pickled, it is made anew of the same files.

    Raises:
        UserError: the model's weights are damaged.
    """

    def __init__(self, architecture: Path, weights: Path, engine: EngineName) -> None:
        self._files, self._engine = [architecture, weights], engine
        self._digests = [sha256_of(path) for path in self._files]
        self._network = load(architecture, weights)
        self._run = make_engine(self._network.whole, engine)
        self.engine = self._run.name
        self._checked = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _evaluator, (*self._files, self._engine, *self._digests)

    def predict(self, runner: Runner, records: Path, spec: Spec, views: int) -> list[Predictions]:
        """Predict all images of a split, once for each of the first `views` views (see `records.views`).

        Raises:
            UserError: the engine does not agree with TensorFlow on the first batch, or records are damaged.
        """
        count = spec.counts[records.name]
        work = PredictRows(self, records, spec, views)
        done = runner.run(work, in_runs(count), count * views, f"predict {records.name}")
        seen = [batch for batches, _ in done for batch in batches]
        return [predictions_of(seen, np.concatenate([by_view[view] for _, by_view in done])) for view in range(views)]

    def run(self, inputs: Iterable[Floats], records: Path, spec: Spec) -> Iterator[Floats]:
        """Predict batches of some records, once the engine is known to agree with TensorFlow on the first of them."""
        if not self._checked:
            first = next(network_inputs(read_records(records, spec, BATCH), 1))
            check_agreement(self._run, self._network.whole, first)
            self._checked = True
        return self._run.run(inputs)

    def classify(self, images: Pixels) -> NDArray[np.float32]:
        """Return probabilities (n, classes) of images, uint8 (n, S, S, channels)."""
        (probabilities,) = self._run.run([normalise(images)])
        return probabilities

    def prediction_cost(self, views: int) -> dict[str, object]:
        """Measure seconds an image and peak memory in a process of its own, and the size of the weights.

        An image takes as many passes as it has views. If measuring fails, seconds and memory are not there.
        """
        weights = self._network.whole.weights
        known = {"engine": self.engine, "weights_bytes": sum(math.prod(weight.shape) * 4 for weight in weights)}
        if not isinstance(self._run, OpenVINOEngine):
            return {**known, **measure(self.engine, self._files, views)}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.xml"
            openvino.save_model(self._run.model, file, compress_to_fp16=False)
            return {**known, **measure(self.engine, [file], views)}


@lru_cache(maxsize=1)  # for the next rows
def _evaluator(architecture: Path, weights: Path, engine: EngineName, *digests: str) -> Evaluator:
    """Make an evaluator, on a worker."""
    for path, digest in zip((architecture, weights), digests, strict=True):
        require_sha256(path, digest)
    fix_seeds(0)
    return Evaluator(architecture, weights, engine)


@dataclass(frozen=True)
class PredictRows:
    """Predict some rows of a split, which are whole batches, or end with the split (see `inference.embed.EmbedRows`).

    Gives what the records say of them, without pixels, and for each view their probabilities (rows, classes).
    """

    model: Evaluator
    records: Path
    spec: Spec
    views: int

    def __call__(self, runs: Iterable[range], progress: Progress) -> tuple[list[Batch], list[Floats]]:
        """Do so."""
        given = list(runs)
        rows = range(given[0].start, given[-1].stop)
        seen, outputs = list[Batch](), list[Floats]()
        inputs = network_inputs(collecting(read_records(self.records, self.spec, BATCH, rows), seen), self.views)
        for output in self.model.run(inputs, self.records, self.spec):
            outputs.append(output)
            progress(len(output))
        return seen, [np.concatenate(outputs[view :: self.views]) for view in range(self.views)]


def averaged(views: Sequence[Predictions]) -> Predictions:
    """Return the predictions with the mean over the views of each image's probabilities."""
    stacked = np.stack([view.probabilities for view in views])
    return dataclasses.replace(views[0], probabilities=np.asarray(stacked.mean(axis=0), np.float32))


def check_cached_path(whole: Predictions, cached_file: Path) -> float:
    """Compare the whole network's predictions for the validation split, in the first view, with the training path's.

    Returns the largest difference of a probability.

    Raises:
        UserError: it is greater than `CACHED_PATH_TOLERANCE`.
    """
    cached = np.load(cached_file)
    difference = float(np.max(np.abs(cached - whole.probabilities))) if cached.shape == whole.probabilities.shape else 1
    if not difference <= CACHED_PATH_TOLERANCE:
        raise UserError(
            f"{cached_file}: predictions from cached activations and from pixels differ by {difference:.3f}, allowed "
            f"{CACHED_PATH_TOLERANCE}; train again: dvc repro -f"
        )
    return difference


def judge(
    train: Predictions, validation: Predictions, test: Predictions, spec: Spec, card: Card
) -> tuple[dict[str, float], pd.DataFrame]:
    """Score a model: what is chosen is chosen on the validation split, and judged on the test split.

    Returns:
        What `scores.score`, `calibration.calibrate` and, where there is a positive class, `scores.operating_point` give
        for the test split, and train_accuracy and val_accuracy, all rounded to 4 digits; and the table of the
        reliability diagram.
    """
    alternative = card.table.alternative_threshold if card.table is not None else None
    scores = score(test, len(spec.classes), spec.positive_class, alternative)
    scores |= {"train_accuracy": train.accuracy(), "val_accuracy": validation.accuracy()}
    calibrated, reliability = calibrate(validation, test)
    scores |= calibrated
    scores = {name: round(value, DIGITS) for name, value in scores.items()}
    if spec.positive_class is not None:  # of what exported files give: they divide by the temperature as written down
        known, judged = (
            dataclasses.replace(
                split, probabilities=temper(split.probabilities, scores["temperature"]).astype(np.float32)
            )
            for split in (validation, test)
        )
        point = operating_point(known, judged, spec.positive_class)
        scores |= {name: round(value, DIGITS) for name, value in point.items()}
    return scores, reliability


def worst_mistakes(test: Predictions, records: Path, spec: Spec, count: int, classify: Classify) -> list[Mistake]:
    """Return the images that are classified wrongly with the highest probability, the worst first.

    What in an image spoke for the wrong class is asked of it as it is, also where it was judged by several views.
    """
    certainty = test.probabilities.max(axis=1)
    wrong = np.flatnonzero(test.predicted != test.labels)
    worst = wrong[np.argsort(-certainty[wrong], kind="stable")][:count]
    wanted = {test.images[i]: int(i) for i in worst}
    pixels = {
        name: batch.pixels[row]
        for batch in read_records(records, spec, BATCH)
        for row, name in enumerate(batch.images)
        if name in wanted
    }
    return [
        Mistake(
            name,
            pixels[name],
            spec.classes[test.labels[i]],
            spec.classes[test.predicted[i]],
            float(certainty[i]),
            occlusion_map(classify, pixels[name], int(test.predicted[i])),
        )
        for name, i in wanted.items()
    ]
