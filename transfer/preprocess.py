"""From data/raw to records: which images take part, which split each belongs to, and their pixels."""

import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from transfer.cards import FOLDER_CARD, Card
from transfer.errors import UserError
from transfer.images import BadImageError, Pixels, decode
from transfer.params import Split, load_yaml, validate
from transfer.progress import progress_bar
from transfer.records import Example, write_records
from transfer.spec import Spec
from transfer.splits import SPLITS, split, take_stratified

AHEAD = 64  # images decoded before the writer asks for them: enough to keep every core busy, few enough to hold


@dataclass(frozen=True)
class Raw:
    """What data/raw holds: the card, the labelled images that are there, and what does not fit together."""

    card: Card
    labels: pd.DataFrame
    mismatches: list[tuple[str, str]]


def read_raw(folder: Path) -> Raw:
    """Read what the stage download left, and match labels with image files."""
    card = validate(Card, load_yaml(folder / FOLDER_CARD), folder / FOLDER_CARD)
    text = {"image": str, "label": str, "stratum": str}
    labels = pd.read_csv(folder / "labels.csv", dtype=text, keep_default_na=False, na_values={"soft_label": [""]})
    images = folder / "images"
    present = {path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()}
    labelled = set(labels["image"])
    mismatches = [(image, "it has a label, and there is no such image file") for image in labelled - present]
    mismatches += [(image, "it has no label") for image in present - labelled]
    return Raw(card, labels[labels["image"].isin(present)], sorted(mismatches))


def _decoded(images: list[str], folder: Path, size: int, channels: int) -> Iterator[Pixels | BadImageError]:
    """Decode images on all cores, in order; for a bad one comes the reason."""

    def attempt(image: str) -> Pixels | BadImageError:
        try:
            return decode(folder / image, size, channels)
        except BadImageError as error:
            return error

    # Threads, not processes: Pillow decodes and resizes without holding Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[Future[Pixels | BadImageError]] = deque()
        for image in images:
            waiting.append(pool.submit(attempt, image))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _examples(rows: pd.DataFrame, raw: Raw, folder: Path, size: int, bad: list[tuple[str, str]]) -> Iterator[Example]:
    """The examples of one split, in order; the images that cannot be used are added to `bad`."""
    classes = {name: number for number, name in enumerate(raw.card.classes)}
    decoded = _decoded(list(rows["image"]), folder / "images", size, raw.card.channels)
    columns = (rows["image"], rows["label"], rows["soft_label"], rows["confidence"])
    for image, label, soft_label, confidence in zip(*columns, strict=True):
        pixels = next(decoded)
        if isinstance(pixels, BadImageError):
            bad.append((image, str(pixels)))
        else:
            yield Example(image, pixels, classes[label], soft_label, confidence)


def _require_classes(labels: pd.DataFrame, classes: tuple[str, ...]) -> None:
    """Check that the images that can be used show every class in every split."""
    for name in SPLITS:
        found = set(labels.loc[labels["split"] == name, "label"])
        if missing := [label for label in classes if label not in found]:
            raise UserError(f"split {name}: expected usable images of every class, received none of {missing}")


@dataclass(frozen=True)
class Preprocessed:
    """What became of the images: the table of splits, the quarantine (image, reason) and the records' description."""

    splits: pd.DataFrame
    quarantine: pd.DataFrame
    spec: Spec

    def figures(self) -> dict[str, object]:
        """Count images by split, class and stratum, for metrics/data.json."""
        by_class = pd.crosstab(self.splits["split"], self.splits["label"])
        by_stratum = pd.crosstab(self.splits["split"], self.splits["stratum"])
        return {
            "images": len(self.splits),
            "quarantined": len(self.quarantine),
            "splits": self.spec.counts,
            "classes": by_class.to_dict("index"),
            "strata": by_stratum.to_dict("index"),
        }


def preprocess(
    raw_folder: Path, records: dict[str, Path], fractions: Split, size: int, max_images: int | None, seed: int
) -> Preprocessed:
    """Write the records of the three splits.

    The split depends on the labels alone and not on what turns out to be undecodable, so one bad image more or less
    moves no other image to another split.

    Args:
        raw_folder: data/raw, as the stage download left it.
        records: folder to make, or make anew, for each of "train", "validation" and "test".
        fractions: of the test and the validation split.
        size: height and width of the images in the records.
        max_images: how many images take part; None for all.
        seed: of the split, and of the choice of `max_images`.

    Raises:
        UserError: a class or a split has too few images.
    """
    raw = read_raw(raw_folder)
    bad = list(raw.mismatches)
    labels = raw.labels if max_images is None else take_stratified(raw.labels, max_images, seed)
    labels = labels.assign(split=split(labels, raw.card.classes, fractions.test, fractions.validation, seed))
    labels = labels.sort_values("image")
    counts = {}
    with progress_bar(len(labels), "decode") as progress:
        for name in SPLITS:
            shutil.rmtree(records[name], ignore_errors=True)
            rows = labels[labels["split"] == name]
            examples = _examples(rows, raw, raw_folder, size, bad)
            shown = (example for example in examples if progress.update() or True)
            counts[name] = write_records(shown, records[name], size * size * raw.card.channels)
    quarantine = pd.DataFrame(sorted(bad), columns=["image", "reason"])
    labels = labels[~labels["image"].isin(set(quarantine["image"]))]
    _require_classes(labels, raw.card.classes)
    card = raw.card
    spec = Spec(card.classes, card.positive, card.symmetry, size, card.channels, counts)
    return Preprocessed(labels[["image", "split", "label", "soft_label", "stratum"]], quarantine, spec)


def check_quarantine(quarantine: pd.DataFrame, images: int, max_bad_fraction: float, path: Path) -> None:
    """Check that no more images are bad than the user allows.

    Raises:
        UserError: more than `max_bad_fraction` of all images are in quarantine.
    """
    fraction = len(quarantine) / (images + len(quarantine))
    if fraction > max_bad_fraction:
        first = quarantine.iloc[0]
        raise UserError(
            f"expected at most {max_bad_fraction:.1%} bad images (params.yaml: max_bad_fraction), received "
            f"{fraction:.1%}, {len(quarantine)} images: {first['image']}: {first['reason']}; all are in {path}"
        )
