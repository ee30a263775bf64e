"""From data/raw to records: which images take part, which split each belongs to, and their pixels."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import compress, islice
from pathlib import Path

import numpy as np
import pandas as pd

from transfer.core.cards import FOLDER_CARD, Card, Symmetry, resolve_symmetry
from transfer.core.errors import UserError
from transfer.core.files import write_csv
from transfer.core.outputs import clear
from transfer.core.params import Duplicates, Split, Square
from transfer.core.spec import BLACK, WHITE, Colour, Conversion, Resize, Spec
from transfer.core.strict import load_yaml, validate
from transfer.dataset.decode import Facts
from transfer.dataset.groups import duplicates_table, follow_copies, leaks, mark_same, merged_groups, rows_where
from transfer.dataset.labels import SPLITS
from transfer.dataset.pool import SHARDS_AHEAD, DecodeShards, Pool, ShardImages, write_records
from transfer.dataset.shapes import LOOKED_AT, resolve_resize
from transfer.dataset.shards import open_shard, shards
from transfer.dataset.splits import follow_groups, require_classes, split, take_stratified
from transfer.workers.work import Runner

MADE = r"\.?\d+\.tfrecord(\.\d+-\w+)?"  # the second, with a dot, is what a killed worker leaves


@dataclass(frozen=True)
class Settings:
    """What params.yaml says of the records.

    `split` are the fractions of the test and the validation split; `image_size` is the height and width of the images
    in the records; `max_images` of them take part, or all where it is None; `seed` is that of the split and of the
    choice of `max_images`; `duplicates` says which images count as the same; `symmetry` overrides that of the card;
    `resize` says how an image becomes square.
    """

    split: Split
    image_size: int
    max_images: int | None
    seed: int
    duplicates: Duplicates
    symmetry: Symmetry = "auto"
    resize: Square = "auto"


@dataclass(frozen=True)
class Raw:
    """What data/raw holds: the card, the labelled images that are there, and what does not fit together.

    `absent` has the class of every image with a label that is not there, by its name; `shards` are the files that
    images are packed in, each with the names in it.
    """

    card: Card
    labels: pd.DataFrame
    mismatches: list[tuple[str, str]]
    absent: pd.Series
    shards: list[ShardImages]


def read_raw(folder: Path) -> Raw:
    """Read what the stage download left, and match labels with image files."""
    card = validate(Card, load_yaml(folder / FOLDER_CARD), folder / FOLDER_CARD)
    text = dict.fromkeys(("image", "label", "stratum", "group", "split"), str)
    missing = {"soft_label": [""]}
    labels = pd.read_csv(  # a carriage return may be a part of a name
        folder / "labels.csv", dtype=text, keep_default_na=False, na_values=missing, lineterminator="\n"
    ).astype({"label": "category", "stratum": "category"})  # not while it reads, which takes the name 01 for a number
    packed = []
    for path in shards(folder / "images"):
        with open_shard(path) as shard:
            packed.append(ShardImages(path, pd.Series(shard.namelist(), dtype="str")))
    present = _names(packed)
    there = labels["image"].isin(present)
    mismatches = [(image, "labelled, but missing") for image in labels["image"][~there]]
    mismatches += [(image, "it has no label") for image in present[~present.isin(labels["image"])]]
    return Raw(card, labels[there], sorted(mismatches), labels[~there].set_index("image")["label"], packed)


CONVERTED = {"CMYK": "CMYK", "P": "with a palette"}
"""Pillow's modes of files that a user may not know of, and what they are called."""
SHOWN_CLASSES = SHOWN_IMAGES = 10  # of which an error, or the stage, says what became of them


@dataclass(frozen=True)
class LeftOut:
    """Images that are not used: `table` (image, reason), of which the first `bad` cannot be used and the others are
    copies of images in another split. `classes` has the class of those with a label.
    """

    table: pd.DataFrame
    bad: int
    classes: pd.Series
    path: Path

    @property
    def copies(self) -> int:
        """How many are left out as copies."""
        return len(self.table) - self.bad

    def by_class(self) -> str:
        """Say how many of each class are left out, and why; nothing where none is."""
        classes = [self.classes.get(image, "") for image in self.table["image"]]
        bad, copies = Counter(classes[: self.bad]), Counter(classes[self.bad :])
        lines = []
        for name, _ in (bad + copies).most_common(SHOWN_CLASSES):
            kinds = (bad[name], "unusable image", "unusable images"), (copies[name], "removed copy", "removed copies")
            said = [f"{count} {one if count == 1 else several}" for count, one, several in kinds if count]
            lines.append(f"{f'class {name!r}' if name else 'without a label'}: {' and '.join(said)}")
        if more := len(bad + copies) - len(lines):
            lines.append(f"and {more} more classes")
        return f"\n       Left out, as listed with reasons in {self.path}: {'; '.join(lines)}" if lines else ""


@dataclass(frozen=True)
class Preprocessed:
    """What became of the images.

    `splits` is the table of all that are used; `left_out` has the others; `duplicates` is the table of images that are
    the same (see `dataset.duplicates`), and `spec` describes the records. `flat` counts images of one colour, or
    nearly, and `followed` those without a given split that went where a copy of them, or of one of their group, is.
    `notes` say what was assumed or converted.
    """

    splits: pd.DataFrame
    left_out: LeftOut
    duplicates: pd.DataFrame
    groups: int
    flat: int
    followed: int
    spec: Spec
    notes: list[str]

    @property
    def quarantine(self) -> pd.DataFrame:
        """The images that are not used: image, reason."""
        return self.left_out.table

    def several_labels(self) -> list[list[tuple[str, str]]]:
        """Return identical images that have different labels: for each such image its files and their labels."""
        of_image = self.duplicates.groupby("identical")
        return [
            list(zip(rows["image"], rows["label"], strict=True)) for _, rows in of_image if rows["label"].nunique() > 1
        ]

    def summary(self, duplicates: Path) -> list[str]:
        """Say what a user should know of the images; `duplicates` is the file of that table."""
        left_out, spec = self.left_out, self.spec
        lines = [f"quarantined: {len(left_out.table)} ({left_out.path}), of which {left_out.copies} are copies"]
        lines += [f"  {row.image}: {row.reason}" for row in left_out.table.head(SHOWN_IMAGES).itertuples()]
        lines += self.notes
        lines.append(f"duplicates: {len(self.duplicates)} ({duplicates}), never in two splits")
        if self.followed:
            lines.append(f"images without a given split, put in that of a copy or of its group: {self.followed}")
        if self.flat:
            lines.append(f"images of nearly one colour, kept: {self.flat}")
        if spec.bit_depth is not None:
            lines.append(f"16-bit grey values are read as {spec.bit_depth}-bit")
        if spec.background != WHITE:
            lines.append(f"transparent pixels are filled with {list(spec.background)}")
        lines += [
            "identical images, different labels: " + ", ".join(f"{image} ({label})" for image, label in files)
            for files in self.several_labels()[:SHOWN_IMAGES]
        ]
        return lines

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
            "flat": self.flat,
            "duplicates": {
                "identical": identical,
                "near": len(self.duplicates) - identical,
                "sets": int(self.duplicates["same"].nunique()),
                "identical_with_several_labels": len(self.several_labels()),
                "taken_out_of_given_splits": self.left_out.copies,
            },
            "classes": by_class.to_dict("index"),
            "strata": by_stratum.to_dict("index"),
        }


def _names(packed: list[ShardImages]) -> pd.Series:
    """Return the names in all shards, one after the other."""
    names: pd.Series = pd.concat([pd.Series(names, dtype="str") for _, names in packed])
    return names


def _in_shards(labels: pd.DataFrame, raw: Raw) -> Iterator[ShardImages]:
    """Yield the images of `labels` as they lie in the shards of data/raw."""
    wanted = _names(raw.shards).isin(labels["image"]).to_numpy()
    ends = np.cumsum([len(names) for _, names in raw.shards])
    for (path, names), chosen in zip(raw.shards, np.split(wanted, ends[:-1]), strict=True):
        yield ShardImages(path, list(compress(names, chosen)))


def _decode(
    labels: pd.DataFrame, raw: Raw, square: tuple[int, Resize], runner: Runner, scratch: Path
) -> tuple[Pool, Conversion]:
    """Decode all images to squares of a size, and find how they become 8 bits a channel without transparency.

    What the card leaves open is known once all are decoded. Most datasets have nothing but images of 8 bits without
    transparency, and for them the first try is right; otherwise they are decoded again.
    """
    card, colours = raw.card, {"auto": None, "white": WHITE, "black": BLACK}
    depth = None if card.bit_depth == "auto" else card.bit_depth
    background: Colour | None = colours[card.background] if isinstance(card.background, str) else card.background
    facts, (size, resize) = Facts(), square
    while True:
        conversion = facts.conversion(depth, background, resize)
        folder = Path(tempfile.mkdtemp(dir=scratch))
        decoding = DecodeShards(folder, size, card.channels, conversion)
        pool = Pool(runner.run(decoding, _in_shards(labels, raw), len(labels), "decode"), size, card.channels)
        if pool.facts.conversion(depth, background, resize) == conversion:
            return pool, conversion
        facts = pool.facts  # which do not depend on the conversion
        shutil.rmtree(folder)


def preprocess(
    raw_folder: Path, records: dict[str, Path], settings: Settings, runner: Runner, quarantine: Path
) -> Preprocessed:
    """Write the records of the three splits.

    Every image is decoded into a pool; then duplicates are known, the split is made, and the records are copied
    to where they belong. The runner decodes and copies; what lies between is done here, for all images at once. An
    image that cannot be decoded takes part in the split, so that it moves no other image to another split.

    Args:
        raw_folder: data/raw, as the stage download left it.
        records: folder to make, or make anew, for each of "train", "validation" and "test".
        settings: what params.yaml says.
        runner: decodes and copies.
        quarantine: the file that lists images that are not used, and why; written as soon as these are known.

    Raises:
        UserError: a class or a split has too few images, a group is given to two splits, or a folder of records holds
            other files.
    """
    raw, seed = read_raw(raw_folder), settings.seed
    labels = raw.labels if settings.max_images is None else take_stratified(raw.labels, settings.max_images, seed)
    labels = follow_groups(labels).sort_values("image", ignore_index=True)
    raw = replace(raw, labels=labels)  # so that nothing holds them in their old order
    resize, said = resolve_resize(settings.resize, _in_shards(labels.iloc[:: len(labels) // LOOKED_AT + 1], raw))
    records["train"].parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=records["train"].parent, prefix=".pool-") as scratch:
        pool, conversion = _decode(labels, raw, (settings.image_size, resize), runner, Path(scratch))
        marked, used, left_out = divide(raw, pool, settings, quarantine)
        _write(used, raw.card.classes, pool, records, runner)
    spec, notes = _describe(raw.card, settings, conversion, used, pool)
    return Preprocessed(
        used[["image", "split", "label", "soft_label", "stratum"]],
        left_out,
        duplicates_table(marked, used),
        labels["group"][labels["group"] != ""].nunique(),
        pool.flat,
        int((marked["split"] != labels["split"]).sum()),
        spec,
        notes + said,
    )


def divide(raw: Raw, pool: Pool, settings: Settings, quarantine: Path) -> tuple[pd.DataFrame, pd.DataFrame, LeftOut]:
    """Return all images, with their copies marked; those of them that are used, each with its split; and the others.

    The one place that holds something of every image: their names, and numbers.

    Raises:
        UserError: see `preprocess`.
    """
    bad = [image for image, _ in pool.bad]
    marked = follow_copies(mark_same(raw.labels, pool.images, bad, pool.find_same(settings.duplicates)))
    left_out = _left_out(marked, pool, raw, quarantine)
    write_csv(left_out.table, quarantine)
    try:
        return marked, _split(marked, left_out, raw.card, settings), left_out
    except UserError as error:
        raise UserError(f"{error}{left_out.by_class()}") from error


def _split(marked: pd.DataFrame, left_out: LeftOut, card: Card, settings: Settings) -> pd.DataFrame:
    """Divide the images that are no removed copies, and return those of them that could be decoded."""
    used = rows_where(marked, ~marked["image"].isin(set(left_out.table["image"][left_out.bad :])))
    used = used.assign(group=merged_groups(used))
    fractions = settings.split
    used = used.assign(split=split(used, card.classes, fractions.test, fractions.validation, settings.seed))
    used = rows_where(used, used["place"] >= 0)
    require_classes(used, card.classes, "bad images left out; fix them, or add others")
    return used


def _describe(
    card: Card, settings: Settings, conversion: Conversion, used: pd.DataFrame, pool: Pool
) -> tuple[Spec, list[str]]:
    """Return the description of the records, and what was assumed or converted."""
    symmetry, notes = resolve_symmetry(settings.symmetry, card)
    if others := ", ".join(f"{pool.modes[mode]} {name}" for mode, name in CONVERTED.items() if pool.modes[mode]):
        notes.append(f"converted to {'RGB' if card.channels == 3 else 'grey'}: {others}")
    counts = {name: int((used["split"] == name).sum()) for name in SPLITS}
    how = (conversion.bit_depth, conversion.background, conversion.resize)
    return Spec(card.classes, card.positive, symmetry, settings.image_size, card.channels, counts, *how), notes


def _left_out(marked: pd.DataFrame, pool: Pool, raw: Raw, path: Path) -> LeftOut:
    bad = sorted(raw.mismatches + pool.bad)
    table = pd.concat([pd.DataFrame(bad, columns=["image", "reason"]), leaks(marked)], ignore_index=True)
    there = marked[marked["image"].isin(table["image"])].set_index("image")["label"]
    return LeftOut(table, len(bad), pd.concat([raw.absent, there]), path)


def _write(used: pd.DataFrame, classes: tuple[str, ...], pool: Pool, records: dict[str, Path], runner: Runner) -> None:
    """Write the records of each split."""
    for folder in records.values():
        clear(folder, MADE)
        folder.mkdir(exist_ok=True)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = used[["image", "label", "soft_label", "confidence", "place"]].assign(label=used["label"].map(numbers))
    planned = (shard for name in SPLITS for shard in pool.shards(labels[used["split"] == name], records[name]))
    runs = iter(lambda: list(islice(planned, SHARDS_AHEAD)), [])  # a worker, too, writes several at once
    runner.run(write_records, runs, len(used), "write")


def check_left_out(done: Preprocessed, max_bad_fraction: float, max_removed_fraction: float) -> None:
    """Check that no more images are left out than the user allows.

    Raises:
        UserError: of all images, more than `max_bad_fraction` could not be used, or more than `max_removed_fraction`
            were removed as copies of images in another split.
    """
    table, bad = done.quarantine, done.left_out.bad
    total = len(done.splits) + len(table)
    of_copies = (
        "remove the copies from the dataset, or raise duplicates.max_removed_fraction; if they are not copies, raise "
        "duplicates.correlation"
    )
    of_bad = "fix these files, or raise max_bad_fraction"
    limits = (
        ("could not be used", table[:bad], "max_bad_fraction", max_bad_fraction, of_bad),
        ("were removed as copies", table[bad:], "duplicates.max_removed_fraction", max_removed_fraction, of_copies),
    )
    for what, rows, key, most, advice in limits:
        if len(rows) > most * total:
            raise UserError(
                f"{len(rows)} of {total} images {what} ({len(rows) / total:.1%}), and params.yaml allows {most:.1%} "
                f"({key}): {advice}. The first is {rows.iloc[0]['image']}: {rows.iloc[0]['reason']}"
                f"{done.left_out.by_class()}"
            )
