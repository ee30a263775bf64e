"""What becomes of a million images: python -m benchmarks.load [COUNT …]

For each number of images, made of 32 × 32 pixels: seconds, images a second and peak memory of download (labels and
packing) and of preprocess, each in a process of its own, of the split alone, and of `dvc status` on the outputs of
both; and on the images as files, which is what it would take without packing (measured up to 100,000). Expected: time
in proportion to the number, the split in less than a minute, `dvc status` in less than 10 s.

Results: benchmarks/results/load.json. The images are made below .bench/load, and removed.

`python -m benchmarks.load rows=COUNT` measures what preprocess does between decoding and writing, for which one process
holds all names and hashes, on generated ones: seconds, and bytes of its peak memory for each image.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.clones import environment
from benchmarks.preprocess import SMALL, apart, small_images
from transfer.core.cards import Card
from transfer.core.cost import peak_memory
from transfer.core.files import write_json
from transfer.core.params import Params, read_params
from transfer.dataset.decode import THUMBNAIL, Facts
from transfer.dataset.groups import duplicates_table
from transfer.dataset.labels import SPLITS
from transfer.dataset.obtain import obtain
from transfer.dataset.pool import Part, Pool
from transfer.dataset.preprocess import Raw, Settings, divide, preprocess, read_raw
from transfer.dataset.splits import split
from transfer.workers.runners import LocalRunner

RESULTS = Path("benchmarks/results/load.json")
PLACE = Path(".bench/load")
FILES, RAW, RECORDS = PLACE / "files", PLACE / "raw", PLACE / "records"
COUNTS = (10_000, 100_000, 1_000_000)
CLASSES = tuple(f"class{i}" for i in range(10))
HELD = 10_000  # generated names that are Python's strings at a time
MOST_FILES = 100_000  # for more, DVC would take too long to commit them


def _download() -> None:
    obtain(FILES, RAW)


def _split(params: Params) -> float:
    """Return the seconds that the split takes, without reading the labels."""
    raw = read_raw(RAW)
    start = time.perf_counter()
    split(raw.labels, raw.card.classes, params.split.test, params.split.validation, params.seed)
    return time.perf_counter() - start


def _preprocess(params: Params) -> None:
    records = {name: RECORDS / name for name in SPLITS}
    settings = Settings(params.split, SMALL, None, params.seed, params.duplicates)
    preprocess(RAW, records, settings, LocalRunner(), RECORDS / "quarantine.csv")


def _generated(count: int) -> pd.DataFrame:
    """Return labels of images, in the order of their names."""
    tables = []
    for numbers in np.array_split(np.arange(count), math.ceil(count / HELD)):
        classes = [f"class{number * len(CLASSES) // count}" for number in numbers]
        names = [f"{label}/{number:08}.jpg" for label, number in zip(classes, numbers, strict=True)]
        tables.append(pd.DataFrame({"image": names, "label": classes, "stratum": classes, "group": "", "split": ""}))
    table = pd.concat(tables).astype({"label": "category", "stratum": "category"})
    return table.sort_values("image", ignore_index=True)  # as preprocess does


def rows(count: int) -> None:
    """Divide generated names and hashes into splits, as preprocess does, and print what it took."""
    params, random = read_params(Path("params.yaml")), np.random.default_rng(0)
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    with (PLACE / "thumbnails").open("wb") as thumbnails:
        thumbnails.truncate(count * THUMBNAIL * THUMBNAIL)  # a hole, which takes no room on the disk
    before, start = peak_memory(), time.perf_counter()
    labels = _generated(count)
    names = labels["image"].take(range(count))  # the pool's own
    hashes = np.frombuffer(random.bytes(16 * count), "S16"), random.integers(0, 2**64, count, np.uint64)
    pool = Pool([Part(PLACE, names, *hashes, [], Facts(), 0, Counter())], SMALL, 1)
    del names, hashes
    raw = Raw(Card("generated", classes=CLASSES), labels, [], pd.Series(dtype=str), [])
    settings = Settings(params.split, SMALL, None, params.seed, params.duplicates)
    marked, used, _ = divide(raw, pool, settings, PLACE / "quarantine.csv")
    duplicates_table(marked, used)
    taken = {"images": count, "seconds": round(time.perf_counter() - start, 2)}
    print(json.dumps({**taken, "bytes_an_image": round((peak_memory() - before) / count)}))
    shutil.rmtree(PLACE)


def in_this_process(step: str) -> None:
    """Do one step and print what it took."""
    if step.startswith("rows="):
        rows(int(step.removeprefix("rows=")))
        return
    params = read_params(Path("params.yaml"))
    steps: dict[str, Callable[[], object]] = {
        "download": _download,
        "preprocess": lambda: _preprocess(params),
        "split": lambda: _split(params),
    }
    start = time.perf_counter()
    seconds = steps[step]()
    taken = seconds if isinstance(seconds, float) else time.perf_counter() - start
    print(json.dumps({"seconds": round(taken, 2), "peak_memory_bytes": peak_memory()}))


def status_seconds(*outputs: Path) -> float:
    """Return the seconds that `dvc status` takes on outputs that are committed; the second time, as from then on."""
    folder = PLACE / "dvc"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for output in outputs:
        shutil.copytree(output, folder / output.name, copy_function=os.link)
    listed = "".join(f"\n      - {output.name}" for output in outputs)
    (folder / "dvc.yaml").write_text(f"stages:\n  all:\n    cmd: 'true'\n    outs:{listed}\n", encoding="utf-8")

    def dvc(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run(["dvc", *command], cwd=folder, env=environment(), check=True, stdout=subprocess.PIPE)
        return time.perf_counter() - start

    dvc("init", "--no-scm", "-q")
    dvc("commit", "-f", "-q")
    seconds = [dvc("status") for _ in range(2)][-1]
    shutil.rmtree(folder)
    return round(seconds, 2)


def measured(count: int) -> dict[str, Any]:
    """Take a number of images through download and preprocess."""
    shutil.rmtree(PLACE, ignore_errors=True)
    small_images(FILES, count)
    result: dict[str, Any] = {"images": count}
    if count <= MOST_FILES:
        result["status_of_files_s"] = status_seconds(FILES)
    result["download"] = apart("benchmarks.load", "download")
    shutil.rmtree(FILES)
    result["split"] = apart("benchmarks.load", "split")
    result["preprocess"] = apart("benchmarks.load", "preprocess")
    for name, folder in (("raw", RAW / "images"), ("records", RECORDS)):
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        result[name] = {"files": len(sizes), "largest_bytes": max(sizes)}
    result["status_s"] = status_seconds(RAW, RECORDS)
    return result


def main() -> None:
    """Measure all numbers of images, and write the results after each."""
    if sys.argv[1:] and not sys.argv[1].isdecimal():
        in_this_process(sys.argv[1])
        return
    counts = [int(count) for count in sys.argv[1:]] or COUNTS
    results: dict[str, Any] = {"cores": os.cpu_count(), "rows": []}
    for count in counts:
        results["rows"].append(measured(count))
        print(json.dumps(results["rows"][-1]), file=sys.stderr, flush=True)
        write_json(results, RESULTS)
    shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()
