"""What Apache Beam's workers give on this machine, and what that says of many: python -m benchmarks.beam

preprocess of photographs and embed of the default dataset at the head's cut, here and by one and two workers, each in a
process of its own; after `make run`. A worker uses all cores by itself, so that two on one machine are to be no slower
than one, and not faster. Of the seconds, those are given apart that pass before the first worker begins and after the
last one ends: the start of the pipeline and of its processes, the import of TensorFlow, the trunk and its engine. All
must write the same bytes.

From the rates of one worker it estimates the hours for `IMAGES` images on `MACHINES` machines of this kind, with
photographs of this size in 224 pixels and 8 views; the search for duplicates, which one process does alone, is timed on
random hashes of two sizes for it. Results: benchmarks/results/beam.json.
"""

import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.preprocess import SIZE, apart, raw
from transfer.core.files import read_json, sha256_of, write_json
from transfer.core.params import read_params
from transfer.core.spec import Spec
from transfer.dataset.duplicates import find_same
from transfer.dataset.labels import SPLITS
from transfer.dataset.preprocess import Settings, preprocess
from transfer.inference.embed import BATCHES, EmbedRows, Place, TrunkEngine, backbone_trunk, embed
from transfer.records.tfrecords import BATCH, records_in_shard
from transfer.workers.runners import LocalRunner, make_runner
from transfer.workers.work import Item, Progress, Result, Runner, Work

RESULTS = Path("benchmarks/results/beam.json")
PLACE = Path(".bench/beam")
PARAMS, RECORDS, WEIGHTS = Path("params.yaml"), Path("data/records"), Path("models/backbone.weights.h5")
MEMORY = Path("benchmarks/results/preprocess.json")  # has what preprocess holds of 10,000 and of 100,000 images
WORKERS = {"local": 0, "one worker": 1, "two workers": 2}
VIEWS = 2
IMAGES, MACHINES, ALL_VIEWS = 100_000_000, 100, 8
HASHES = (400_000, 3_200_000)  # random ones, among which duplicates are looked for
HOUR = 3600


@dataclass(frozen=True)
class Clocked:
    """Work that notes when it began, once the worker had all that it needs, and when it ended."""

    work: Any
    folder: Path

    def __call__(self, items: Iterable[Any], progress: Progress) -> Any:
        """Do the work; that this could be unpickled means that its modules are imported."""
        if isinstance(self.work, EmbedRows):
            self.work.engine.ready()
        begun = time.time()
        result = self.work(items, progress)
        write_json([begun, time.time()], self.folder / f"{uuid.uuid4()}.json")
        return result


class Timed:
    """Another runner, with the seconds that pass in it, and those in which workers are busy."""

    def __init__(self, runner: Runner) -> None:
        self.runner, self.seconds, self.busy = runner, 0.0, 0.0

    def run(self, work: Work[Item, Result], items: Iterable[Item], images: int, title: str) -> list[Result]:
        """Have the other one do it."""
        from benchmarks.beam import Clocked as Importable  # not __main__'s, which a worker would not find

        start = time.perf_counter()
        folder = PLACE / f"clock {title}"
        done: list[Result] = self.runner.run(Importable(work, folder), items, images, title)
        self.seconds += time.perf_counter() - start
        spans = [json.loads(path.read_text(encoding="utf-8")) for path in folder.iterdir()]
        self.busy += max(end for _, end in spans) - min(begin for begin, _ in spans)
        return done


def _runner(workers: int) -> Runner:
    options = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    return make_runner("beam", options) if workers else LocalRunner()


def _digest(folder: Path) -> str:
    """Return a hash over all files below a folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(folder)} {sha256_of(path)}\n".encode())
    return total.hexdigest()


def _preprocess(workers: int) -> dict[str, Any]:
    params, runner = read_params(PARAMS), Timed(_runner(workers))
    folders = {name: PLACE / "records" / name for name in SPLITS}
    source, start = raw("jpeg"), time.perf_counter()
    settings = Settings(params.split, SIZE, None, params.seed, params.duplicates)
    done = preprocess(source, folders, settings, runner, PLACE / "quarantine.csv")
    seconds = time.perf_counter() - start
    return {
        "images": len(done.splits),
        "seconds": seconds,
        "start_s": runner.seconds - runner.busy,  # twice, to decode and to write
        "alone_s": seconds - runner.seconds,
        "bytes": sum(path.stat().st_size for path in source.rglob("*.zip")),
        "digest": _digest(PLACE / "records"),
    }


def _embed(workers: int) -> dict[str, Any]:
    params, spec, runner = read_params(PARAMS), Spec.read(RECORDS / "spec.json"), Timed(_runner(workers))
    trunk = backbone_trunk(params.backbone, spec.image_size, WEIGHTS, ("top",), params.head.pooling)
    engine = TrunkEngine(trunk, params.engine, RECORDS / "train", spec)
    place = Place(PLACE / "activations", VIEWS)
    work = EmbedRows(engine, RECORDS / "train", (place,))
    engine.ready()  # what the stage itself builds is not counted
    start = time.perf_counter()
    embed(runner, work)
    seconds = time.perf_counter() - start
    written = sum(path.stat().st_size for path in place.folder.glob("view-*.npy"))
    return {
        "images": spec.counts["train"] * VIEWS,
        "seconds": seconds,
        "start_s": runner.seconds - runner.busy,
        "alone_s": seconds - runner.seconds,
        "bytes": written,
        "digest": _digest(place.folder),
    }


def _duplicates_seconds(count: int) -> float:
    """Return the seconds of the search for duplicates among random hashes, in which next to nothing is found."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, count, np.uint64)
    thumbnails = np.broadcast_to(random.integers(0, 256, (1, 32, 32, 1), np.uint8), (count, 32, 32, 1))
    start = time.perf_counter()
    find_same([i.to_bytes(16, "big") for i in range(count)], hashes, thumbnails, read_params(PARAMS).duplicates)
    return time.perf_counter() - start


def in_this_process(stage: str) -> None:
    """Measure one stage with one runner and print what it took."""
    name, workers = stage.split("=")
    PLACE.mkdir(parents=True, exist_ok=True)
    taken = {"preprocess": _preprocess, "embed": _embed}[name](int(workers))
    shutil.rmtree(PLACE)
    rate = taken["images"] / (taken["seconds"] - taken["start_s"] - taken["alone_s"])
    print(json.dumps({**taken, "rate": rate}))


def measured(stage: str) -> dict[str, Any]:
    """Return what a stage takes with each runner."""
    rows = {}
    for name, workers in WORKERS.items():
        rows[name] = apart("benchmarks.beam", f"{stage}={workers}")
        print(f"{stage}, {name}: {rows[name]}", file=sys.stderr, flush=True)
    digests = {row.pop("digest") for row in rows.values()}
    return {"rows": rows, "same_bytes": len(digests) == 1}


def estimate(stages: dict[str, Any], duplicates: dict[str, float], memory: dict[str, Any]) -> dict[str, Any]:
    """Reckon what `IMAGES` images on `MACHINES` machines take.

    Args:
        stages: what `measured` gives of preprocess and embed.
        duplicates: seconds of the search for duplicates for two numbers of images: some grow with it, some with its
            square, as images that share a part of their hash are compared with each other.
        memory: peak memory of preprocess for two numbers of images, of benchmarks/results/preprocess.json.
    """
    decoded, embedded = (stages[name]["rows"]["one worker"] for name in ("preprocess", "embed"))
    (few, few_s), (many, many_s) = ((int(count), seconds) for count, seconds in duplicates.items())
    square = max(0.0, (many_s / many - few_s / few) / (many - few))
    linear = many_s / many - square * many
    peaks = {int(count): values["peak_memory_bytes"] for count, values in memory.items() if count != "ratio"}
    (less, less_bytes), (more, more_bytes) = sorted(peaks.items())
    record = SIZE * SIZE * 3
    return {
        "images": IMAGES,
        "machines": MACHINES,
        "preprocess_h": IMAGES / (MACHINES * decoded["rate"]) / HOUR,
        "duplicates_h": (linear * IMAGES + square * IMAGES**2) / HOUR,
        "driver_bytes": IMAGES * (more_bytes - less_bytes) / (more - less),
        "embed_h": IMAGES * ALL_VIEWS / (MACHINES * embedded["rate"]) / HOUR,
        "raw_bytes": IMAGES * decoded["bytes"] / decoded["images"],
        "record_bytes": IMAGES * record,
        "activation_bytes": IMAGES * ALL_VIEWS * embedded["bytes"] / embedded["images"],
        "record_shards": IMAGES / records_in_shard(record),
        "embed_items": IMAGES / (BATCH * BATCHES),
    }


def main() -> None:
    """Measure and write the results."""
    if sys.argv[1:]:
        in_this_process(sys.argv[1])
        return
    stages = {stage: measured(stage) for stage in ("preprocess", "embed")}
    duplicates = {str(count): _duplicates_seconds(count) for count in HASHES}
    results = {
        "cores": os.cpu_count(),
        **stages,
        "duplicates_s": duplicates,
        "estimate": estimate(stages, duplicates, read_json(MEMORY)["memory"]),
    }
    write_json(results, RESULTS)
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
