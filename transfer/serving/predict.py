"""Say what images show, with an exported classifier: python -m transfer predict IMAGE… | FOLDER…"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from transfer.core.errors import UserError
from transfer.core.progress import progress_bar
from transfer.dataset.decode import BadImageError
from transfer.export.classifiers import Classifier, open_classifier
from transfer.export.contract import Contract
from transfer.serving.arguments import find_images, list_bad, read_image, read_list, shown
from transfer.workers.threads import in_order
from transfer.workers.work import Progress

AHEAD = 3  # batches that are decoded while one is computed


@dataclass(frozen=True)
class Prediction:
    """What is said of an image: a probability for each class, float32 (classes,), or why it cannot be read."""

    image: str
    probabilities: NDArray[np.float32] | None
    error: str = ""


def predict(classifier: Classifier, images: Iterable[str], batch: int) -> Iterator[Prediction]:
    """Classify image files, in order, `batch` at a time; what cannot be read is said with its reason."""
    contract = classifier.contract
    decoded = in_order(lambda image: (image, read_image(image, contract)), images, AHEAD * batch)
    while read := list(islice(decoded, batch)):
        good = [pixels for _, pixels in read if not isinstance(pixels, BadImageError)]
        rows = iter(classifier.probabilities(np.stack(good)) if good else ())
        for name, pixels in read:
            if isinstance(pixels, BadImageError):
                yield Prediction(name, None, str(pixels))
            else:
                yield Prediction(name, next(rows))


@dataclass(frozen=True)
class Ranking:
    """How classes are put into order: the predicted one first, the others by their probability.

    The predicted class is the most likely one. With a threshold it is the threshold's class where that has a
    probability above it, else the most likely of the others. `top` is the number of classes to name; None names all.
    """

    classes: tuple[str, ...]
    top: int | None = None
    threshold: tuple[str, float] | None = None

    @classmethod
    def of(cls, contract: Contract, top: int | None, threshold: str | None) -> "Ranking":
        """Read a threshold, CLASS=PROBABILITY or auto, that of the exported file.

        Raises:
            UserError: it is neither, names no class of the classifier, or the file has no threshold.
        """
        if threshold is None:
            return cls(contract.classes, top)
        if threshold == "auto":
            if contract.positive is None or contract.threshold is None:
                raise UserError("threshold: the exported model has none; give one, as CLASS=PROBABILITY")
            return cls(contract.classes, top, (contract.positive, contract.threshold))
        name, _, number = threshold.rpartition("=")
        if name not in contract.classes:
            raise UserError(
                f"threshold: expected CLASS=PROBABILITY with a class of {', '.join(contract.classes)}, received "
                f"{threshold!r}"
            )
        try:
            value = float(number)
        except ValueError:
            value = np.nan
        if not 0 <= value <= 1:
            raise UserError(f"threshold: expected a probability from 0 to 1, received {number!r}")
        return cls(contract.classes, top, (name, value))

    def of_image(self, probabilities: NDArray[np.float32]) -> list[tuple[str, float]]:
        """Return classes and probabilities, the predicted class first."""
        order = list(np.argsort(-probabilities, kind="stable"))
        if self.threshold is not None:
            number = self.classes.index(self.threshold[0])
            order.remove(number)
            above = probabilities[number] > self.threshold[1]
            others = sum(probabilities[order[1:]] >= probabilities[number])
            order.insert(0 if above else 1 + int(others), number)
        return [(self.classes[number], float(probabilities[number])) for number in order[: self.top]]


Writer = Callable[[Iterable[Prediction], Ranking, TextIO], None]


def print_text(predictions: Iterable[Prediction], ranking: Ranking, out: TextIO) -> None:
    """Write a line for each image: its name, and class and probability, the predicted class first."""
    for prediction in predictions:
        if prediction.probabilities is not None:
            likely = ranking.of_image(prediction.probabilities)
            said = ", ".join(f"{shown(name)} {value:.4f}" for name, value in likely)
            out.write(f"{shown(prediction.image)}: {said}\n")


def print_json(predictions: Iterable[Prediction], ranking: Ranking, out: TextIO) -> None:
    """Write an array with an object for each image, on a line of its own; for one that cannot be read, its error."""
    separator = "[\n"
    for prediction in predictions:
        entry: dict[str, object] = {"image": prediction.image}
        if prediction.probabilities is None:
            entry["error"] = prediction.error
        else:
            likely = ranking.of_image(prediction.probabilities)
            entry |= {"class": likely[0][0], "probabilities": dict(likely)}
        out.write(separator + json.dumps(entry))
        separator = ",\n"
    out.write("\n]\n")


def print_csv(predictions: Iterable[Prediction], ranking: Ranking, out: TextIO) -> None:
    """Write a row for each class of each image, the predicted class first. Images that cannot be read have none."""
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["image", "rank", "class", "probability"])
    for prediction in predictions:
        if prediction.probabilities is not None:
            likely = enumerate(ranking.of_image(prediction.probabilities), 1)
            rows.writerows([prediction.image, rank, name, value] for rank, (name, value) in likely)


WRITERS: dict[str, Writer] = {"text": print_text, "json": print_json, "csv": print_csv}


def watched(predictions: Iterable[Prediction], bad: list[Prediction], progress: Progress) -> Iterator[Prediction]:
    """Hand predictions on, collect those of images that cannot be read, and tell how far it is."""
    for prediction in predictions:
        if prediction.probabilities is None:
            bad.append(prediction)
        yield prediction
        progress(1)


def images_of(given: argparse.Namespace) -> Iterator[str]:
    """Yield the images that a command line names: files, folders, and a list of them."""
    return chain(find_images(given.images), read_list(given.list) if given.list else ())


def run(given: argparse.Namespace) -> int:
    """Predict what the command line asks for, and return the exit status."""
    if sys.stdout is None:
        raise UserError("predict: standard output is closed; send it to a file: predict … > predictions.txt")
    images = list(images_of(given))
    classifier = open_classifier(given.model, given.format, latency=len(images) == 1, fast=given.fast)
    ranking = Ranking.of(classifier.contract, given.top, given.threshold)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files are bytes, and need not be UTF-8
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    bad: list[Prediction] = []
    many = given.list or any(Path(path).is_dir() for path in given.images)
    with progress_bar(len(images), "predict") if many else nullcontext() as bar:
        progress = (lambda _: None) if bar is None else bar.update
        WRITERS[given.write](watched(predict(classifier, images, given.batch), bad, progress), ranking, sys.stdout)
    sys.stdout.flush()
    return list_bad([(prediction.image, prediction.error) for prediction in bad], len(images))
