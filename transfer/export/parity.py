"""Whether an exported classifier says what the trained network says."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from transfer.core.arrays import Pixels
from transfer.core.errors import UserError
from transfer.core.params import Format
from transfer.core.progress import progress_bar
from transfer.core.spec import Spec
from transfer.evaluation.calibration import Probabilities, temper
from transfer.export.classifiers import Classifier
from transfer.export.contract import Contract
from transfer.export.formats import FORMATS, files_of
from transfer.inference.engines import TensorFlowEngine
from transfer.records.tfrecords import BATCH, network_inputs, read_records

LARGER = ((1.33, 1.49), (1.49, 1.33))
"""Heights and widths, as multiples of the network's size, of the images that resizing inside a model is tried on.

Pillow 13 first changes the width of the wide ones and the height of the tall ones, and rounds to whole grey levels
between; the models change the width first. So, of tall images, they may differ by one level here and there.
"""
RESIZED = 8  # images
SURE = 0.1  # by which the probability of the most likely class exceeds the next one
RESIZE_TOLERANCE = 0.1
"""Largest difference of a probability that this may make; measured: 0.02, and 0.05 for images four times as high as
wide."""


@dataclass(frozen=True)
class Parity:
    """How far a format is from Keras on the validation split.

    `largest_difference` and `mean_difference` are of an image's probabilities (the largest one of its classes counts),
    `agreement` is the fraction of the images that get the same class, and `agreement_where_sure` that among those of
    which Keras is `SURE`: what is as good as a tie may fall either way. `resize_difference` is the largest difference
    that it makes whether the model resizes or Pillow; None for a format that takes one size only.
    """

    bytes: int
    largest_difference: float
    mean_difference: float
    agreement: float
    agreement_where_sure: float
    resize_difference: float | None

    def figures(self, name: Format) -> dict[str, Any]:
        """Return them beside what is tolerated. Differences have two digits: more would tell of rounding only."""
        rounded = {key: value and float(f"{value:.1e}") for key, value in asdict(self).items() if "difference" in key}
        tolerated = {
            "tolerated_mean_difference": FORMATS[name].difference,
            "tolerated_agreement": FORMATS[name].agreement,
        }
        same = {"agreement": round(self.agreement, 4), "agreement_where_sure": round(self.agreement_where_sure, 4)}
        return {"bytes": self.bytes, **rounded, **same, **tolerated}


@dataclass(frozen=True)
class Reference:
    """The validation split, and what Keras says of it: calibrated probabilities (n, classes)."""

    records: Path
    spec: Spec
    probabilities: Probabilities

    def batches(self) -> Iterator[Pixels]:
        """Give the images, uint8 (n, S, S, channels), in order."""
        return (batch.pixels for batch in read_records(self.records, self.spec, BATCH))


def reference(whole: keras.Model, contract: Contract, records: Path, spec: Spec) -> Reference:
    """Have Keras judge the images of a split, in the contract's views, at its temperature."""
    network, means = TensorFlowEngine(whole), []
    with progress_bar(spec.counts[records.name], f"keras {records.name}") as progress:
        for batch in read_records(records, spec, BATCH):
            means.append(np.mean(list(network.run(network_inputs([batch], contract.views))), axis=0))
            progress.update(len(batch.labels))
    return Reference(records, spec, temper(np.concatenate(means), contract.temperature))


def compare(classifier: Classifier, path: Path, expected: Reference) -> Parity:
    """Compare a classifier, read from `path`, with Keras.

    Raises:
        UserError: it gives NaN or infinite probabilities.
    """
    received = np.concatenate([classifier.probabilities(pixels) for pixels in expected.batches()])
    if wrong := int(np.sum(~np.isfinite(received).all(axis=1))):
        raise UserError(f"its probabilities for {wrong} of {len(received)} images are not finite")
    differences = np.abs(received - expected.probabilities).max(axis=1)
    same = received.argmax(axis=1) == expected.probabilities.argmax(axis=1)
    ordered = np.sort(expected.probabilities, axis=1)
    sure = ordered[:, -1] - ordered[:, -2] >= SURE
    first = next(expected.batches())[:RESIZED]
    return Parity(
        bytes=size(path),
        largest_difference=float(np.max(differences)),
        mean_difference=float(np.mean(differences)),
        agreement=float(np.mean(same)),
        agreement_where_sure=float(np.mean(same[sure])) if sure.any() else 1.0,
        resize_difference=_resize_difference(classifier, first) if classifier.contract.resizes else None,
    )


def size(path: Path) -> int:
    """Return the bytes of a format."""
    return sum(file.stat().st_size for file in files_of(path))


def _resize_difference(classifier: Classifier, images: Pixels) -> float:
    """Compare what is said of larger images with what is said of them after Pillow has made them smaller.

    NaN counts as the largest difference that there is.
    """
    height, width = images.shape[1:3]
    largest = 0.0
    for higher, wider in LARGER:
        rows, columns = (np.arange(round(n * by)) * n // round(n * by) for n, by in ((height, higher), (width, wider)))
        larger = np.ascontiguousarray(images[:, rows][:, :, columns])
        inside, before = classifier.probabilities(larger), classifier.probabilities(_resize(larger, height, width))
        largest = max(largest, float(np.max(np.nan_to_num(np.abs(inside - before), nan=1.0))))
    return largest


def _resize(images: Pixels, height: int, width: int) -> Pixels:
    """Resize as `dataset.decode.decode` does."""
    plain = images[..., 0] if images.shape[-1] == 1 else images
    resized = [Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR) for image in plain]
    return np.stack([np.asarray(image, np.uint8).reshape(height, width, -1) for image in resized])


def check(found: Parity, name: Format) -> None:
    """Compare with what is tolerated; the largest difference is only shown.

    Raises:
        UserError: the format is further from Keras.
    """
    tolerated = FORMATS[name]
    if not found.mean_difference <= tolerated.difference:
        raise UserError(
            f"its probabilities differ from Keras by {_above(found.mean_difference, tolerated.difference)} on average; "
            f"at most {tolerated.difference:g} is accepted"
        )
    if not (found.resize_difference or 0.0) <= RESIZE_TOLERANCE:
        raise UserError(
            f"it does not resize images as Pillow does, which changes a probability by "
            f"{_above(found.resize_difference or 0.0, RESIZE_TOLERANCE)}; at most {RESIZE_TOLERANCE:g} is accepted"
        )
    if not found.agreement_where_sure >= tolerated.agreement:
        raise UserError(
            f"it agrees with Keras on only {found.agreement_where_sure:.2%} of the images that Keras is sure of; at "
            f"least {tolerated.agreement:.0%} is required"
        )


def _above(value: float, limit: float) -> str:
    """Write a value with two digits, or as many as show that it is above the limit."""
    texts = (f"{value:.{digits}g}" for digits in range(2, 18))
    return next((text for text in texts if float(text) > limit), f"{value:.2g}")
