"""From data/raw to records: which images take part, which split each belongs to, and their pixels."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd

from transfer.cards import FOLDER_CARD, Card
from transfer.duplicates import Bits, Same, find_same, perceptual_hashes
from transfer.errors import UserError
from transfer.groups import duplicates_table, leaks, mark_same, merged_groups
from transfer.image_shards import image_names, open_shard, read_image, shards
from transfer.images import THUMBNAIL, BadImageError, Decoded, Pixels, decode
from transfer.params import Duplicates, Split, load_yaml, validate
from transfer.progress import progress_bar
from transfer.records import Example, RecordPool
from transfer.spec import Spec
from transfer.splits import SPLITS, follow_groups, split, take_stratified
from transfer.threads import in_order

AHEAD = 64  # images decoded before the writer asks for them: enough to keep every core busy, few enough to hold
HASHED = 256  # thumbnails hashed at a time


@dataclass(frozen=True)
class Raw:
    """What data/raw holds: the card, the labelled images that are there, and what does not fit together."""

    card: Card
    labels: pd.DataFrame
    mismatches: list[tuple[str, str]]


def read_raw(folder: Path) -> Raw:
    """Read what the stage download left, and match labels with image files."""
    card = validate(Card, load_yaml(folder / FOLDER_CARD), folder / FOLDER_CARD)
    text = dict.fromkeys(("image", "label", "stratum", "group", "split"), str)
    missing = {"soft_label": [""]}
    labels = pd.read_csv(  # a carriage return may be a part of a name
        folder / "labels.csv", dtype=text, keep_default_na=False, na_values=missing, lineterminator="\n"
    )
    present = set(image_names(folder / "images"))
    labelled = set(labels["image"])
    mismatches = [(image, "it has a label, and there is no such image file") for image in labelled - present]
    mismatches += [(image, "it has no label") for image in present - labelled]
    return Raw(card, labels[labels["image"].isin(present)], sorted(mismatches))


def _decoded(wanted: set[str], folder: Path, size: int, channels: int) -> Iterator[tuple[str, Decoded | BadImageError]]:
    """Decode images on all cores, in the order of the shards; for a bad one comes the reason."""
    for path in shards(folder):
        with open_shard(path) as shard:

            def attempt(image: str, shard: ZipFile = shard) -> tuple[str, Decoded | BadImageError]:
                try:
                    return image, decode(read_image(shard, image), size, channels)
                except BadImageError as error:
                    return image, error

            yield from in_order(attempt, (image for image in shard.namelist() if image in wanted), AHEAD)


class _Pool:
    """All images that could be decoded, in files: records, and thumbnails to find duplicates by."""

    def __init__(self, folder: Path, channels: int) -> None:
        self._shape = (THUMBNAIL, THUMBNAIL, channels)
        self._thumbnails = folder / "thumbnails"
        self.records = RecordPool(folder / "pool.tfrecord")
        self.rows: dict[str, int] = {}  # number of the record of each image
        self._contents: list[bytes] = []
        self._perceptual: list[Bits] = []
        self._unhashed: list[Pixels] = []

    def fill(self, labels: pd.DataFrame, raw: Raw, images: Path, size: int) -> list[tuple[str, str]]:
        """Decode images into the pool, and return those that cannot be, with the reasons."""
        classes = {name: number for number, name in enumerate(raw.card.classes)}
        decoded = _decoded(set(labels["image"]), images, size, raw.card.channels)
        rows = labels[["image", "label", "soft_label", "confidence"]].itertuples(index=False, name=None)
        bad = []
        with progress_bar(len(labels), "decode") as progress, self._thumbnails.open("wb") as thumbnails:
            for (image, label, soft_label, confidence), (name, result) in zip(rows, decoded, strict=True):
                if name != image:
                    raise UserError(f"{images}: expected images in the order of their names, {image!r} before {name!r}")
                progress.update()
                if isinstance(result, BadImageError):
                    bad.append((image, str(result)))
                    continue
                self.rows[image] = len(self.rows)
                self._contents.append(result.content)
                thumbnails.write(result.thumbnail.tobytes())
                self._unhashed.append(result.thumbnail)
                if len(self._unhashed) == HASHED:
                    self._hash()
                self.records.append(Example(image, result.pixels, classes[label], soft_label, confidence))
        self._hash()
        self.records.close()
        return bad

    def _hash(self) -> None:
        """Hash the thumbnails that are waiting for it."""
        if self._unhashed:
            self._perceptual.append(perceptual_hashes(np.stack(self._unhashed)))
            self._unhashed.clear()

    def find_same(self, params: Duplicates) -> Same:
        """Find the duplicates among the images of the pool."""
        shape = (len(self.rows), *self._shape)
        mapped = np.memmap(self._thumbnails, np.uint8, "r", shape=shape) if self.rows else np.empty(shape, np.uint8)
        hashes = np.concatenate([np.empty(0, np.uint64), *self._perceptual])
        return find_same(self._contents, hashes, mapped, params)


def _require_classes(labels: pd.DataFrame, classes: tuple[str, ...]) -> None:
    """Check that the images that can be used show every class in every split."""
    for name in SPLITS:
        found = set(labels.loc[labels["split"] == name, "label"])
        if missing := [label for label in classes if label not in found]:
            raise UserError(f"split {name}: expected usable images of every class, received none of {missing}")


@dataclass(frozen=True)
class Preprocessed:
    """What became of the images.

    `splits` is the table of all that are used; `quarantine` (image, reason) lists those that are not, of which the
    first `bad` could not be used and the others are copies of images in another split; `duplicates` is the table of
    images that are the same (see `transfer.duplicates`), and `spec` describes the records.
    """

    splits: pd.DataFrame
    quarantine: pd.DataFrame
    bad: int
    duplicates: pd.DataFrame
    groups: int
    spec: Spec

    def several_labels(self) -> list[list[tuple[str, str]]]:
        """Return identical images that have different labels: for each such image its files and their labels."""
        of_image = self.duplicates.groupby("identical")
        return [
            list(zip(rows["image"], rows["label"], strict=True)) for _, rows in of_image if rows["label"].nunique() > 1
        ]

    def figures(self) -> dict[str, object]:
        """Count images by split, class and stratum, and duplicates, for metrics/data.json."""
        by_class = pd.crosstab(self.splits["split"], self.splits["label"])
        by_stratum = pd.crosstab(self.splits["split"], self.splits["stratum"])
        identical = int(self.duplicates["identical"].duplicated(keep=False).sum())
        return {
            "images": len(self.splits),
            "quarantined": len(self.quarantine),
            "splits": self.spec.counts,
            "groups": self.groups,
            "duplicates": {
                "identical": identical,
                "near": len(self.duplicates) - identical,
                "sets": int(self.duplicates["same"].nunique()),
                "identical_with_several_labels": len(self.several_labels()),
                "taken_out_of_given_splits": len(self.quarantine) - self.bad,
            },
            "classes": by_class.to_dict("index"),
            "strata": by_stratum.to_dict("index"),
        }


def preprocess(
    raw_folder: Path,
    records: dict[str, Path],
    fractions: Split,
    size: int,
    max_images: int | None,
    seed: int,
    duplicates: Duplicates,
) -> Preprocessed:
    """Write the records of the three splits.

    Every image is decoded once, into one file; then duplicates are known, the split is made, and the records are
    copied to where they belong. An image that cannot be decoded takes part in the split, so that it moves no other
    image to another split.

    Args:
        raw_folder: data/raw, as the stage download left it.
        records: folder to make, or make anew, for each of "train", "validation" and "test".
        fractions: of the test and the validation split.
        size: height and width of the images in the records.
        max_images: how many images take part; None for all.
        seed: of the split, and of the choice of `max_images`.
        duplicates: which images count as the same.

    Raises:
        UserError: a class or a split has too few images, or a group is given to two splits.
    """
    raw = read_raw(raw_folder)
    labels = raw.labels if max_images is None else take_stratified(raw.labels, max_images, seed)
    labels = follow_groups(labels).sort_values("image", ignore_index=True)
    records["train"].parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=records["train"].parent, prefix=".pool-") as scratch:
        pool = _Pool(Path(scratch), raw.card.channels)
        bad = raw.mismatches + pool.fill(labels, raw, raw_folder / "images", size)
        marked = mark_same(labels, list(pool.rows), pool.find_same(duplicates))
        removed = leaks(marked)
        used = marked[~marked["image"].isin(set(removed["image"]))]
        used = used.assign(group=merged_groups(used))
        used = used.assign(split=split(used, raw.card.classes, fractions.test, fractions.validation, seed))
        used = used[used["image"].isin(set(pool.rows))]
        _require_classes(used, raw.card.classes)
        for name in SPLITS:
            shutil.rmtree(records[name], ignore_errors=True)
            rows = [pool.rows[image] for image in used["image"][used["split"] == name]]
            pool.records.write_shards(rows, records[name], size * size * raw.card.channels)
    counts = {name: int((used["split"] == name).sum()) for name in SPLITS}
    card = raw.card
    return Preprocessed(
        used[["image", "split", "label", "soft_label", "stratum"]],
        pd.concat([pd.DataFrame(sorted(bad), columns=["image", "reason"]), removed], ignore_index=True),
        len(bad),
        duplicates_table(marked, used),
        labels["group"][labels["group"] != ""].nunique(),
        Spec(card.classes, card.positive, card.symmetry, size, card.channels, counts),
    )


def check_quarantine(done: Preprocessed, max_bad_fraction: float, path: Path) -> None:
    """Check that no more images are bad than the user allows. Copies of images in another split are not bad.

    Raises:
        UserError: more than `max_bad_fraction` of all images could not be used.
    """
    fraction = done.bad / (len(done.splits) + len(done.quarantine))
    if fraction > max_bad_fraction:
        first = done.quarantine.iloc[0]
        raise UserError(
            f"expected at most {max_bad_fraction:.1%} bad images (params.yaml: max_bad_fraction), received "
            f"{fraction:.1%}, {done.bad} images: {first['image']}: {first['reason']}; all are in {path}"
        )
