"""Say what images show, with an exported classifier: python -m transfer predict IMAGE… | FOLDER…"""

import argparse
import csv
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from transfer.arrays import Pixels
from transfer.classifiers import Classifier, open_classifier
from transfer.contract import Contract
from transfer.errors import UserError
from transfer.formats import FORMATS
from transfer.images import IMAGE_SUFFIXES, MAX_BYTES, BadImageError, decode_pixels
from transfer.progress import progress_bar
from transfer.scan import is_image_name, scan
from transfer.threads import in_order

SOME_BAD = 3
"""Exit status where images could not be read. The others are predicted."""
AHEAD = 3  # batches that are decoded while one is computed


@dataclass(frozen=True)
class Prediction:
    """What is said of an image: a probability for each class, float32 (classes,), or why it cannot be read."""

    image: str
    probabilities: NDArray[np.float32] | None
    error: str = ""


def find_images(given: Sequence[str]) -> list[str]:
    """Return the files given, whatever their names, and the images in the folders given, by their suffixes, in order.

    Folders in them that cannot be listed, and links that lead nowhere, are among them, so that they are reported.

    Raises:
        UserError: a folder has none.
    """
    found: list[str] = []
    for path in given:
        if not Path(path).is_dir():
            found.append(path)
            continue
        inside = [str(Path(path, entry.path)) for entry in scan(path) if entry.error or is_image_name(entry.path)]
        if not inside:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise UserError(f"{path}: no images in it ({kinds}): give a folder that has some")
        found += inside
    return found


def _content(path: Path) -> bytes:
    """Read a file whose size is known before: a pipe or a device may never end."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()  # a folder is among the images where it cannot be listed: this says why
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError("expected a regular file, received a folder, a device or a pipe")
        if status.st_size > MAX_BYTES:
            raise BadImageError(f"expected at most {MAX_BYTES:,} bytes, received {status.st_size:,}")
        with path.open("rb") as file:
            return file.read(MAX_BYTES)  # also of one that grows meanwhile
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error


def read_image(image: str, contract: Contract) -> Pixels | BadImageError:
    """Decode and resize a file as the pipeline does: uint8 (S, S, channels)."""
    try:
        return decode_pixels(_content(Path(image)), contract.image_size, contract.channels, contract.conversion)
    except BadImageError as error:
        return error


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


def ranked(prediction: Prediction, classes: tuple[str, ...], top: int | None) -> list[tuple[str, float]]:
    """Return the classes and their probabilities, the most likely first."""
    assert prediction.probabilities is not None
    order = np.argsort(-prediction.probabilities, kind="stable")[:top]
    return [(classes[number], float(prediction.probabilities[number])) for number in order]


Writer = Callable[[Iterable[Prediction], tuple[str, ...], int | None, TextIO], None]


def write_text(predictions: Iterable[Prediction], classes: tuple[str, ...], top: int | None, out: TextIO) -> None:
    """Write a line for each image: its name, and class and probability, the most likely first."""
    for prediction in predictions:
        if prediction.probabilities is not None:
            said = ", ".join(f"{shown(name)} {value:.4f}" for name, value in ranked(prediction, classes, top))
            out.write(f"{shown(prediction.image)}: {said}\n")


def write_json(predictions: Iterable[Prediction], classes: tuple[str, ...], top: int | None, out: TextIO) -> None:
    """Write an array with an object for each image, on a line of its own; for one that cannot be read, its error."""
    separator = "[\n"
    for prediction in predictions:
        entry: dict[str, object] = {"image": prediction.image}
        if prediction.probabilities is None:
            entry["error"] = prediction.error
        else:
            likely = ranked(prediction, classes, top)
            entry |= {"class": likely[0][0], "probabilities": dict(likely)}
        out.write(separator + json.dumps(entry))
        separator = ",\n"
    out.write("\n]\n")


def write_csv(predictions: Iterable[Prediction], classes: tuple[str, ...], top: int | None, out: TextIO) -> None:
    """Write a row for each class of each image, the most likely first. Images that cannot be read have none."""
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["image", "rank", "class", "probability"])
    for prediction in predictions:
        if prediction.probabilities is not None:
            likely = enumerate(ranked(prediction, classes, top), 1)
            rows.writerows([prediction.image, rank, name, value] for rank, (name, value) in likely)


def shown(name: str) -> str:
    """Return a name as a terminal can show it: what would move its cursor, and what is no character, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def _watched(predictions: Iterable[Prediction], total: int, bad: list[Prediction], bar: bool) -> Iterator[Prediction]:
    """Hand predictions on, collect those of images that cannot be read, and show how far it is."""
    progress = progress_bar(total, "predict") if bar else None
    for prediction in predictions:
        if prediction.probabilities is None:
            bad.append(prediction)
        yield prediction
        if progress is not None:
            progress.update()
    if progress is not None:
        progress.close()


def list_bad(bad: Sequence[tuple[str, str]], total: int) -> int:
    """List images that could not be read, with the reasons, on standard error, and return the exit status."""
    if not bad:
        return 0
    lines = "".join(f"  {shown(image)}: {shown(reason)}\n" for image, reason in bad)
    sys.stderr.write(f"could not be read: {len(bad)} of {total} images\n{lines}")
    return SOME_BAD


def run(given: argparse.Namespace) -> int:
    """Predict what the command line asks for, and return the exit status."""
    if sys.stdout is None:
        raise UserError("predict: standard output is closed; send it to a file: predict … > predictions.txt")
    images = find_images(given.images)
    classifier = open_classifier(given.model, given.format, latency=len(images) == 1, fast=given.fast)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files are bytes, and need not be UTF-8
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    bad: list[Prediction] = []
    with_bar = any(Path(path).is_dir() for path in given.images)
    predictions = _watched(predict(classifier, images, given.batch), len(images), bad, with_bar)
    given.write(predictions, classifier.contract.classes, given.top, sys.stdout)
    sys.stdout.flush()
    return list_bad([(prediction.image, prediction.error) for prediction in bad], len(images))


def whole_number(text: str, most: int | None = None) -> int:
    """Read a number from 1, for a command line.

    Raises:
        argparse.ArgumentTypeError: it is none, or greater than `most`.
    """
    if not text.isdecimal() or int(text) < 1 or (most is not None and int(text) > most):
        upwards = "from 1" if most is None else f"from 1 to {most}"
        raise argparse.ArgumentTypeError(f"expected a whole number {upwards}, received {text!r}")
    return int(text)


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add what names images."""
    parser.add_argument("images", nargs="+", metavar="IMAGE|FOLDER", help="files, or folders to look for images in")


def add_classifier(parser: argparse.ArgumentParser) -> None:
    """Add what names a classifier."""
    model = "folder that the stage export wrote, or one of its formats, wherever that lies now (default: models/export)"
    parser.add_argument("--model", type=Path, default=Path("models/export"), help=model)
    parser.add_argument("--format", choices=FORMATS, help="of that folder (default: the fastest that runs here)")


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "predict",
        help="say what images show",
        description="Say what images show: the probability of each class, calibrated, the most likely class first.",
        epilog=f"Exit status: 0; {SOME_BAD} if images could not be read (the others are predicted, and these listed on "
        "standard error); 1 for any other error; 2 for a wrong command line.",
    )
    add_images(parser)
    add_classifier(parser)
    parser.add_argument("--batch", type=whole_number, default=32, help="images computed at a time (default: 32)")
    parser.add_argument("--top", type=whole_number, help="only so many classes of each image, the most likely ones")
    fast = "compute in bfloat16, with errors of percents (OpenVINO, on processors that have it)"
    parser.add_argument("--fast", action="store_true", help=fast)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", dest="write", action="store_const", const=write_json, help="write JSON")
    output.add_argument("--csv", dest="write", action="store_const", const=write_csv, help="write CSV")
    parser.set_defaults(run=run, write=write_text)
