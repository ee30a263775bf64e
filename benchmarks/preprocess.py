"""What preprocess costs over bare decoding, and that its memory does not grow: python -m benchmarks.preprocess

Speed: against a loop that only decodes, resizes and writes the same records, with the same libraries and threads, and
that neither looks for duplicates nor makes a split. Expected: a ratio of 0.8 or more. The two take turns.

Memory: the peak of a process of its own that preprocesses 10,000 images, and of one with 100,000. Expected: a ratio of
1.2 or less. The images are made once, into .bench/preprocess, and so is data/raw of each dataset.
"""

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from PIL import Image

from transfer.core.arrays import Pixels
from transfer.core.cost import peak_memory
from transfer.core.files import write_json
from transfer.core.params import read_params
from transfer.dataset.labels import SPLITS
from transfer.dataset.obtain import obtain
from transfer.dataset.pool import AHEAD
from transfer.dataset.preprocess import Settings, preprocess
from transfer.dataset.shards import open_shard, read_image, shards
from transfer.records.tfrecords import Example, write_shard
from transfer.workers.runners import LocalRunner
from transfer.workers.threads import in_order

RESULTS = Path("benchmarks/results/preprocess.json")
PLACE = Path(".bench/preprocess")
ELPV = Path("data/cards/elpv.yaml")
PHOTOGRAPHS = 2000
SIZE, SMALL = 224, 32  # height and width, in pixels, of the records in the measurement of speed, and of memory
COUNTS = (10_000, 100_000)
ROUNDS = 3


def _picture(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw what a decoder takes for a photograph: large shapes, and a little noise."""
    shapes = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = random.normal(0, 8, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(shapes) + noise, 0, 255).astype(np.uint8))


def photographs(folder: Path, count: int) -> None:
    """Make JPEGs of about 500 × 375 pixels, as ImageNet has them, in two class folders."""
    random = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"class{i % 2}" / f"{i:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = random.integers(450, 551), random.integers(340, 411)
        _picture(random, int(width), int(height)).save(path, quality=85)


def small_images(folder: Path, count: int) -> None:
    """Make images of 32 × 32 pixels, half of them JPEG and half PNG, in ten class folders."""
    random = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"class{i % 10}" / f"{i:06}.{'jpg' if i // 10 % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        _picture(random, SMALL, SMALL).save(path)


def raw(name: str, count: int = PHOTOGRAPHS) -> Path:
    """Return data/raw of a dataset, made at the first call; `count` is of the photographs, for "jpeg"."""
    made = PLACE / f"raw-{name}{count if name == 'jpeg' else ''}"
    if not made.exists():
        source, unfinished = PLACE / name, made.with_suffix(".unfinished")
        for folder in (source, unfinished):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        if name == "jpeg":
            photographs(source, count)
        elif name != "elpv":
            small_images(source, int(name))
        obtain(ELPV if name == "elpv" else source, unfinished)
        shutil.rmtree(source)
        unfinished.rename(made)
    return made


def whole(folder: Path, size: int) -> int:
    """Preprocess with the settings of params.yaml, and return the number of images in the records."""
    params = read_params(Path("params.yaml"))
    records = {name: PLACE / "records" / name for name in SPLITS}
    settings = Settings(params.split, size, None, params.seed, params.duplicates)
    done = preprocess(folder, records, settings, LocalRunner(), PLACE / "quarantine.csv")
    return len(done.splits)


def _decoded(shard: ZipFile, size: int, mode: str) -> Iterator[Pixels]:
    """Decode and resize on all cores, in order, a bounded number ahead."""

    def decode(name: str) -> Pixels:
        with Image.open(io.BytesIO(read_image(shard, name))) as image:
            return np.asarray(image.convert(mode).resize((size, size), Image.Resampling.BILINEAR), np.uint8)

    return in_order(decode, shard.namelist(), AHEAD)


def bare(folder: Path, size: int, mode: str) -> int:
    """Decode, resize and write all images, and nothing more; return their number."""
    count = 0
    for path in shards(folder / "images"):
        with open_shard(path) as shard:
            found = zip(shard.namelist(), _decoded(shard, size, mode), strict=True)
            examples = (Example(name, pixels.reshape(size, size, len(mode)), 0, 0.0, 1.0) for name, pixels in found)
            write_shard(examples, PLACE / f"bare-{path.stem}.tfrecord")
            count += len(shard.namelist())
    return count


def speed(name: str, mode: str) -> dict[str, float]:
    """Return images a second of preprocess and of the bare loop, the median over rounds, and their ratio."""
    folder = raw(name)
    measured: dict[str, list[float]] = {"preprocess": [], "bare": []}
    for turn in range(ROUNDS + 1):  # the first turn warms up
        for contestant, of_rounds in measured.items():
            start = time.perf_counter()
            images = whole(folder, SIZE) if contestant == "preprocess" else bare(folder, SIZE, mode)
            rate = images / (time.perf_counter() - start)
            if turn:
                of_rounds.append(rate)
            print(f"{name}: {contestant}: {rate:.1f} images/s", file=sys.stderr, flush=True)
    rates = {contestant: statistics.median(values) for contestant, values in measured.items()}
    ratio = statistics.median(a / b for a, b in zip(measured["preprocess"], measured["bare"], strict=True))
    return {**{contestant: round(rate, 1) for contestant, rate in rates.items()}, "ratio": round(ratio, 2)}


def in_this_process(name: str) -> None:
    """Preprocess small images and print what it took."""
    start = time.perf_counter()
    images = whole(PLACE / f"raw-{name}", SMALL)
    seconds = round(time.perf_counter() - start, 1)
    print(json.dumps({"images": images, "seconds": seconds, "peak_memory_bytes": peak_memory()}))


def apart(module: str, argument: str) -> dict[str, Any]:
    """Run a module in a process of its own, so that its memory is its own, and return the JSON that it prints last."""
    done = subprocess.run([sys.executable, "-m", module, argument], check=True, stdout=subprocess.PIPE, text=True)
    taken: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return taken


def memory() -> dict[str, object]:
    """Return what preprocessing took in a process of its own, for each number of images, and the ratio of memory."""
    taken = {}
    for count in COUNTS:
        raw(str(count))
        taken[str(count)] = apart("benchmarks.preprocess", str(count))
        print(f"{count} images: {taken[str(count)]}", file=sys.stderr, flush=True)
    peaks = [taken[str(count)]["peak_memory_bytes"] for count in COUNTS]
    return {**taken, "ratio": round(peaks[1] / peaks[0], 2)}


def main() -> None:
    """Measure and write the results."""
    if sys.argv[1:]:
        in_this_process(sys.argv[1])
        return
    results = {
        "cores": os.cpu_count(),
        "image_size": SIZE,
        "images_per_second": {"elpv": speed("elpv", "L"), "jpeg": speed("jpeg", "RGB")},
        "memory": memory(),
    }
    shutil.rmtree(PLACE / "records", ignore_errors=True)
    write_json(results, RESULTS)
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
