"""Predictions of very many images, in shards: python -m transfer predict FOLDER… --out PREDICTIONS

In the folder of predictions are

- `images.jsonl`, the list of images, in order: the path of one on each line, as JSON;
- `manifest.json`, of what model and images they are, by which settings, and, when a run ends, the shards that are done;
- `shards/00000.csv` and so on, each what `predict` prints of some of the images (or .json);
- `unreadable/00000.csv`, the images of a shard that could not be read, with the reasons, where there are any.

A shard that is there is done, as it is written whole: the next run predicts only those that are missing.
"""

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from transfer.core.errors import UserError
from transfer.core.files import read_json, sha256_of, write_json, written_whole
from transfer.core.params import Dask
from transfer.export.classifiers import Classifier, find_classifier, open_classifier
from transfer.export.formats import files_of
from transfer.serving.arguments import SOME_BAD
from transfer.serving.predict import WRITERS, Prediction, Ranking, images_of, predict, watched
from transfer.workers.runners import make_runner
from transfer.workers.work import Progress

IMAGES, MANIFEST, SHARDS, UNREADABLE = "images.jsonl", "manifest.json", "shards", "unreadable"


class Shard(NamedTuple):
    """Some of the images: its number, from 0, where it begins in the list, in bytes, and how many they are."""

    number: int
    start: int
    images: int


@dataclass(frozen=True)
class Model:
    """An exported classifier, and what its files held when it was looked at."""

    path: Path
    sha256: str
    fast: bool

    @classmethod
    def of(cls, path: Path, fast: bool) -> "Model":
        """Look at what is there now."""
        digests = "".join(sha256_of(file) for file in files_of(path))
        return cls(path, hashlib.sha256(digests.encode()).hexdigest(), fast)


@lru_cache(maxsize=1)  # for the next shard
def _opened(model: Model) -> Classifier:
    if Model.of(model.path, model.fast) != model:
        raise UserError(f"{model.path}: it has changed since predict began; put the old one back, or begin again")
    return open_classifier(model.path, fast=model.fast)


@dataclass(frozen=True)
class PredictShards:
    """Predict shards of the list of images in `folder`, `batch` images at a time, and write each to its files."""

    folder: Path
    model: Model
    ranking: Ranking
    batch: int
    kind: str

    def place(self, shard: Shard) -> Path:
        """Return the file of a shard."""
        return self.folder / SHARDS / f"{shard.number:05}.{self.kind}"

    def __call__(self, shards: Iterable[Shard], progress: Progress) -> None:
        """Do so.

        Raises:
            UserError: the model is not what it was.
        """
        classifier = _opened(self.model)
        for shard in shards:
            bad: list[Prediction] = []
            predictions = watched(predict(classifier, self._names(shard), self.batch), bad, progress)
            with written_whole(self.place(shard), shared=True) as part:
                with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                    WRITERS[self.kind](predictions, self.ranking, file)
                self._list_unreadable(shard, bad)  # before the shard is there

    def _names(self, shard: Shard) -> list[str]:
        with (self.folder / IMAGES).open("rb") as file:
            file.seek(shard.start)
            return [json.loads(line) for line in islice(file, shard.images)]

    def _list_unreadable(self, shard: Shard, bad: list[Prediction]) -> None:
        place = self.folder / UNREADABLE / f"{shard.number:05}.csv"
        place.unlink(missing_ok=True)
        if not bad:
            return
        with (
            written_whole(place, shared=True) as part,
            part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["image", "reason"])
            rows.writerows([prediction.image, prediction.error] for prediction in bad)


def write_list(images: Iterable[str], in_shard: int, path: Path) -> list[Shard]:
    """Write the list of images, and divide it into shards."""
    shards, left = list[Shard](), iter(images)
    with path.open("wb") as file:
        while names := list(islice(left, in_shard)):
            shards.append(Shard(len(shards), file.tell(), len(names)))
            file.write("".join(f"{json.dumps(name)}\n" for name in names).encode())
    return shards


def _require_same(settings: dict[str, Any], folder: Path) -> None:
    """Check that a folder holds predictions by these settings, or none yet."""
    try:
        before = read_json(folder / MANIFEST)["settings"]
    except FileNotFoundError:
        others = (path.name for path in folder.iterdir() if path.name != IMAGES and not path.name.startswith("."))
        if other := min(others, default=""):
            raise UserError(
                f"{folder}: has {other}, but no {MANIFEST} of earlier predictions; give another --out, or empty it"
            ) from None
        return
    for name, value in settings.items():
        if before.get(name) != value:
            raise UserError(
                f"{folder}: begun with {name} {before.get(name)}, now {value}; use the same again, give another --out, "
                "or remove the folder to predict all again"
            )


def _unreadable(folder: Path) -> int:
    """Count the images that could not be read."""
    count = 0
    for path in (folder / UNREADABLE).glob("*.csv"):
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            count += sum(1 for _ in csv.reader(file)) - 1
    return count


def run(given: argparse.Namespace) -> int:
    """Predict the shards that are missing, and return the exit status."""
    folder, kind = given.out, "json" if given.write == "json" else "csv"
    model = Model.of(find_classifier(given.model, given.format), given.fast)
    ranking = Ranking.of(_opened(model).contract, given.top, given.threshold)
    work = PredictShards(folder, model, ranking, given.batch, kind)
    with written_whole(folder / IMAGES) as part:
        shards = write_list(images_of(given), given.shard, part)
        total = sum(shard.images for shard in shards)
        settings = {"images": total, "images_sha256": sha256_of(part), "model_sha256": model.sha256, "kind": kind}
        settings |= {name: getattr(given, name) for name in ("shard", "batch", "top", "threshold", "fast")}
        _require_same(settings, folder)
    inputs = [*given.images, *([str(given.list)] if given.list else [])]
    manifest = {"inputs": inputs, "model": str(model.path), "settings": settings}
    write_json(manifest, folder / MANIFEST)
    missing = [shard for shard in shards if not work.place(shard).exists()]
    try:
        with make_runner("dask" if given.scheduler else "local", Dask(given.scheduler, 1)) as runner:
            runner.run(work, missing, sum(shard.images for shard in missing), "predict")
    finally:
        unreadable = _unreadable(folder)
        done = [f"{SHARDS}/{work.place(shard).name}" for shard in shards if work.place(shard).exists()]
        write_json({**manifest, "unreadable": unreadable, "done": done}, folder / MANIFEST)
    for left in (*folder.glob(f"{SHARDS}/.*"), *folder.glob(f"{UNREADABLE}/.*")):  # by a process that was killed
        left.unlink(missing_ok=True)
    there = f", {len(shards) - len(missing)} of them already there" if len(missing) < len(shards) else ""
    print(f"wrote  {folder}: {total} images in {len(shards)} shards{there}")
    if unreadable:
        sys.stderr.write(f"could not be read: {unreadable} of {total} images, listed in {folder / UNREADABLE}\n")
    return SOME_BAD if unreadable else 0
