"""How fast image files are predicted: python -m benchmarks.predict

Needs the outputs of `dvc repro`. Every image of data/raw, as a file, through `python -m transfer predict` in each
format: start-up, reading, decoding, computing and writing JSON all count. Formats take turns, so that a disturbance of
the machine hits all of them.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from transfer.cost import read_json, write_json
from transfer.errors import run
from transfer.formats import FORMATS
from transfer.image_shards import image_names, open_shard, shards

RESULTS = Path("benchmarks/results/predict.json")
RAW = Path("data/raw/images")
MODEL = Path("models/export")
ROUNDS = 3


def seconds(folder: Path, name: str) -> float:
    """Return how long it takes to predict all images of a folder."""
    command = [sys.executable, "-m", "transfer", "predict", str(folder), "--format", name, "--json"]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure and write the results."""
    there = [name for name, kind in FORMATS.items() if (MODEL / kind.place).exists()]
    taken: dict[str, list[float]] = {name: [] for name in there}
    images = sum(1 for _ in image_names(RAW))
    with TemporaryDirectory() as temporary:
        for path in shards(RAW):
            with open_shard(path) as shard:
                shard.extractall(temporary)
        for turn in range(ROUNDS):
            for name in there:
                taken[name].append(seconds(Path(temporary), name))
                print(f"round {turn + 1} of {ROUNDS}: {name}: {images / taken[name][-1]:.0f} images/s", flush=True)
    rates = {name: round(images / float(np.median(found)), 1) for name, found in taken.items()}
    model = read_json(Path("metrics/export.json"))["model"]
    write_json({"cores": os.cpu_count(), "images": images, "model": model, "images_per_second": rates}, RESULTS)


if __name__ == "__main__":
    run(main)
