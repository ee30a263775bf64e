"""How fast image files are predicted: python -m benchmarks.predict

Needs the outputs of `dvc repro`. Every image of data/raw, as a file, through `python -m transfer predict` in each
format: start-up, reading, decoding, computing and writing JSON all count. Formats take turns, so that a disturbance of
the machine hits all of them. What they say is held against the SavedModel, which TensorFlow runs.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openvino

from transfer.core.errors import run
from transfer.core.files import read_json, write_json
from transfer.dataset.shards import open_shard, shards
from transfer.evaluation.calibration import Probabilities
from transfer.export.formats import FORMATS

RESULTS = Path("benchmarks/results/predict.json")
RAW = Path("data/raw/images")
MODEL = Path("models/export")
ROUNDS = 3


def predicted(folder: Path, options: list[str]) -> tuple[float, Probabilities]:
    """Return how long it takes to predict all images of a folder, and the probabilities (n, classes)."""
    command = [sys.executable, "-m", "transfer", "predict", str(folder), *options, "--json"]
    start = time.perf_counter()
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    taken = time.perf_counter() - start
    rows = [image["probabilities"] for image in json.loads(said)]
    return taken, np.array([[row[name] for name in sorted(row)] for row in rows])


def ways() -> dict[str, list[str]]:
    """Return the options of each way to predict: the formats that there are, and OpenVINO in bfloat16 where it can."""
    there: dict[str, list[str]] = {
        name: ["--format", name] for name, kind in FORMATS.items() if (MODEL / kind.place).exists()
    }
    if "openvino" in there and "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        there["openvino --fast"] = [*there["openvino"], "--fast"]
    return there


def main() -> None:
    """Measure and write the results."""
    options, images = ways(), 0
    taken: dict[str, list[float]] = {name: [] for name in options}
    said: dict[str, Probabilities] = {}
    with TemporaryDirectory() as temporary:
        for path in shards(RAW):
            with open_shard(path) as shard:
                shard.extractall(temporary)
                images += len(shard.namelist())
        for turn in range(ROUNDS):
            for name, chosen in options.items():
                seconds, said[name] = predicted(Path(temporary), chosen)
                taken[name].append(seconds)
                print(f"round {turn + 1} of {ROUNDS}: {name}: {images / seconds:.0f} images/s", flush=True)
    rows = {name: _row(images / float(np.median(taken[name])), said[name], said["saved_model"]) for name in options}
    model = read_json(Path("metrics/export.json"))["model"]
    write_json({"cores": os.cpu_count(), "images": images, "model": model, "ways": rows}, RESULTS)


def _row(rate: float, probabilities: Probabilities, exact: Probabilities) -> dict[str, float]:
    """Return a rate, and how far from TensorFlow's what came out is."""
    differences = np.abs(probabilities - exact).max(axis=1)
    same = probabilities.argmax(axis=1) == exact.argmax(axis=1)
    return {
        "images_per_second": round(rate, 1),
        "largest_difference": float(f"{differences.max():.1e}"),
        "mean_difference": float(f"{differences.mean():.1e}"),
        "agreement": round(float(same.mean()), 4),
    }


if __name__ == "__main__":
    run(main)
