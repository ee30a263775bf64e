"""What workers of a Dask cluster on this machine give: python -m benchmarks.dask

preprocess of photographs and embed of the default dataset at the head's cut, here and by one and two workers, each in a
process of its own; after `make run`. A worker uses all cores by itself: while at work, one should have 0.95 or more of
the local rate, and two no more than one. Start-up is what passes before the first worker begins and
after the last one ends: the start of processes, the import of TensorFlow, the trunk and its engine. All must write the
same bytes. The overhead of a task is that of many that do nothing. Results: benchmarks/results/dask.json.
"""

import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.preprocess import SIZE, apart, raw
from transfer.core.files import sha256_of, write_json
from transfer.core.params import Dask, read_params
from transfer.core.spec import Spec
from transfer.dataset.labels import SPLITS
from transfer.dataset.preprocess import Settings, preprocess
from transfer.inference.embed import EmbedRows, Place, TrunkEngine, backbone_trunk, embed
from transfer.workers.runners import LocalRunner, make_runner
from transfer.workers.work import Item, Progress, Result, Runner, Work

RESULTS = Path("benchmarks/results/dask.json")
PLACE = Path(".bench/dask")
PARAMS, RECORDS, WEIGHTS = Path("params.yaml"), Path("data/records"), Path("models/backbone.weights.h5")
WORKERS = {"local": 0, "one worker": 1, "two workers": 2}
PHOTOGRAPHS, VIEWS = 8000, 8
ITEMS = 1000


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
        from benchmarks.dask import Clocked as Importable  # not __main__'s, which a worker would not find

        start = time.perf_counter()
        folder = PLACE / f"clock {title}"
        done: list[Result] = self.runner.run(Importable(work, folder), items, images, title)
        self.seconds += time.perf_counter() - start
        spans = [json.loads(path.read_text(encoding="utf-8")) for path in folder.iterdir()]
        self.busy += max(end for _, end in spans) - min(begin for begin, _ in spans)
        return done


@contextmanager
def _runner(workers: int) -> Iterator[Timed]:
    start = time.perf_counter()
    with make_runner("dask", Dask(None, workers)) if workers else nullcontext(LocalRunner()) as runner:
        timed = Timed(runner)
        timed.seconds = time.perf_counter() - start
        yield timed


def _digest(folder: Path) -> str:
    """Return a hash over all files below a folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(folder)} {sha256_of(path)}\n".encode())
    return total.hexdigest()


def _preprocess(runner: Runner) -> dict[str, Any]:
    params = read_params(PARAMS)
    folders = {name: PLACE / "records" / name for name in SPLITS}
    settings = Settings(params.split, SIZE, None, params.seed, params.duplicates)
    done = preprocess(raw("jpeg", PHOTOGRAPHS), folders, settings, runner, PLACE / "quarantine.csv")
    return {"images": len(done.splits), "digest": _digest(PLACE / "records")}


def _embed(runner: Runner) -> dict[str, Any]:
    params, spec = read_params(PARAMS), Spec.read(RECORDS / "spec.json")
    trunk = backbone_trunk(params.backbone, spec.image_size, WEIGHTS, ("top",), params.head.pooling)
    engine = TrunkEngine(trunk, params.engine, RECORDS / "train", spec)
    engine.ready()  # what the stage itself builds is not counted
    embed(runner, EmbedRows(engine, RECORDS / "train", (Place(PLACE / "activations", VIEWS),)))
    return {"images": spec.counts["train"] * VIEWS, "digest": _digest(PLACE / "activations")}


def _nothing(items: Iterable[int], progress: Progress) -> None:
    """Do what a task with nothing to do does."""


def _overhead() -> float:
    """Return the seconds of a task that does nothing, among many, on one worker."""
    from benchmarks.dask import _nothing as importable  # not __main__'s, which a worker would not find

    with make_runner("dask", Dask(None, 1)) as runner:
        runner.run(importable, range(1), 1, "start")
        start = time.perf_counter()
        tasks = runner.run(importable, range(ITEMS), ITEMS, "nothing")
        return (time.perf_counter() - start) / len(tasks)


def in_this_process(stage: str) -> None:
    """Measure one stage with one runner and print what it took."""
    name, workers = stage.split("=")
    PLACE.mkdir(parents=True, exist_ok=True)
    with _runner(int(workers)) as runner:
        taken = {"preprocess": _preprocess, "embed": _embed}[name](runner)
    shutil.rmtree(PLACE)
    start_s = runner.seconds - runner.busy
    print(json.dumps({**taken, "seconds": runner.seconds, "start_s": start_s, "rate": taken["images"] / runner.busy}))


def measured(stage: str) -> dict[str, Any]:
    """Return what a stage takes with each runner."""
    rows = {}
    for name, workers in WORKERS.items():
        rows[name] = apart("benchmarks.dask", f"{stage}={workers}")
        print(f"{stage}, {name}: {rows[name]}", file=sys.stderr, flush=True)
    digests = {row.pop("digest") for row in rows.values()}
    return {"rows": rows, "same_bytes": len(digests) == 1}


def main() -> None:
    """Measure and write the results."""
    if sys.argv[1:]:
        in_this_process(sys.argv[1])
        return
    stages = {stage: measured(stage) for stage in ("preprocess", "embed")}
    write_json({"cores": os.cpu_count(), **stages, "overhead_s": _overhead()}, RESULTS)
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
