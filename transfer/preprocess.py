"""From data/raw to records: which images take part, which split each belongs to, and their pixels."""

import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from transfer.cards import FOLDER_CARD, Card
from transfer.errors import UserError
from transfer.groups import duplicates_table, leaks, mark_same, merged_groups
from transfer.image_shards import open_shard, shards
from transfer.outputs import clear
from transfer.params import Duplicates, Split
from transfer.pool import DecodeShards, Labelled, Pool, copy_records
from transfer.records import records_in_shard
from transfer.spec import Spec
from transfer.splits import SPLITS, follow_groups, split, take_stratified
from transfer.strict import load_yaml, validate
from transfer.work import Runner

MADE = r"\.?\d+\.tfrecord(\.\d+-\w+)?"  # the second, with a dot, is what a killed worker leaves


@dataclass(frozen=True)
class Raw:
    """What data/raw holds: the card, the labelled images that are there, and what does not fit together.

    `shards` are the files that images are packed in, each with the last name in it.
    """

    card: Card
    labels: pd.DataFrame
    mismatches: list[tuple[str, str]]
    shards: list[tuple[Path, str]]


def read_raw(folder: Path) -> Raw:
    """Read what the stage download left, and match labels with image files."""
    card = validate(Card, load_yaml(folder / FOLDER_CARD), folder / FOLDER_CARD)
    text = dict.fromkeys(("image", "label", "stratum", "group", "split"), str)
    missing = {"soft_label": [""]}
    labels = pd.read_csv(  # a carriage return may be a part of a name
        folder / "labels.csv", dtype=text, keep_default_na=False, na_values=missing, lineterminator="\n"
    )
    present: set[str] = set()
    packed = []
    for path in shards(folder / "images"):
        with open_shard(path) as shard:
            names = shard.namelist()
        present.update(names)
        packed.append((path, max(names, default="")))
    labelled = set(labels["image"])
    mismatches = [(image, "it has a label, and there is no such image file") for image in labelled - present]
    mismatches += [(image, "it has no label") for image in present - labelled]
    return Raw(card, labels[labels["image"].isin(present)], sorted(mismatches), packed)


def _labelled(labels: pd.DataFrame, raw: Raw) -> Iterator[Labelled]:
    """Divide labels, sorted by image, among the shards of data/raw, which are in the same order."""
    classes = {name: number for number, name in enumerate(raw.card.classes)}
    images, start = labels["image"], 0
    for shard, last in raw.shards:
        end = bisect_right(range(len(labels)), last, start, key=images.iloc.__getitem__)
        if end > start:
            rows = labels.iloc[start:end]
            numbers = np.array([classes[label] for label in rows["label"]], np.int64)
            columns = (rows[name].to_numpy(np.float64) for name in ("soft_label", "confidence"))
            yield Labelled(shard, rows["image"].tolist(), numbers, *columns)
        start = end


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
    runner: Runner,
) -> Preprocessed:
    """Write the records of the three splits.

    Every image is decoded once, into a pool; then duplicates are known, the split is made, and the records are copied
    to where they belong. The runner decodes and copies; what lies between is done here, for all images at once. An
    image that cannot be decoded takes part in the split, so that it moves no other image to another split.

    Args:
        raw_folder: data/raw, as the stage download left it.
        records: folder to make, or make anew, for each of "train", "validation" and "test".
        fractions: of the test and the validation split.
        size: height and width of the images in the records.
        max_images: how many images take part; None for all.
        seed: of the split, and of the choice of `max_images`.
        duplicates: which images count as the same.
        runner: decodes and copies.

    Raises:
        UserError: a class or a split has too few images, a group is given to two splits, or a folder of records holds
            other files.
    """
    raw = read_raw(raw_folder)
    labels = raw.labels if max_images is None else take_stratified(raw.labels, max_images, seed)
    labels = follow_groups(labels).sort_values("image", ignore_index=True)
    records["train"].parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=records["train"].parent, prefix=".pool-") as scratch:
        decoding = DecodeShards(Path(scratch), size, raw.card.channels)
        pool = Pool(runner.run(decoding, _labelled(labels, raw), len(labels), "decode"), raw.card.channels)
        marked = mark_same(labels, list(pool.rows), pool.find_same(duplicates))
        removed = leaks(marked)
        used = marked[~marked["image"].isin(set(removed["image"]))]
        used = used.assign(group=merged_groups(used))
        used = used.assign(split=split(used, raw.card.classes, fractions.test, fractions.validation, seed))
        used = used[used["image"].isin(set(pool.rows))]
        _require_classes(used, raw.card.classes)
        rows = {name: [pool.rows[image] for image in used["image"][used["split"] == name]] for name in SPLITS}
        in_shard = records_in_shard(size * size * raw.card.channels)
        for folder in records.values():
            clear(folder, MADE)
            folder.mkdir(exist_ok=True)
        planned = (shard for name in SPLITS for shard in pool.shards(rows[name], records[name], in_shard))
        runner.run(copy_records, planned, len(used), "write")
    counts = {name: len(rows[name]) for name in SPLITS}
    card, bad = raw.card, sorted(raw.mismatches + pool.bad)
    return Preprocessed(
        used[["image", "split", "label", "soft_label", "stratum"]],
        pd.concat([pd.DataFrame(bad, columns=["image", "reason"]), removed], ignore_index=True),
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
