"""What prediction costs, in a process of its own: python -m transfer.evaluation.prediction_cost ENGINE VIEWS FILE…

It imports no more than the engine needs, loads one model, predicts single images and batches of 32, each image in as
many views, and prints JSON: seconds an image for both (medians, after warm-up) and the peak resident memory of the
process in bytes.
"""

import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from transfer.core.arrays import Floats
from transfer.core.cost import peak_memory

BATCH = 32
ROOT = Path(__file__).parents[2]  # where Python finds the package
WARM_UP = 5
REPEATS = {1: 60, BATCH: 12}


def measure(engine: str, files: list[Path], views: int) -> dict[str, object]:
    """Start the measuring process and return what it printed, {} if it failed. `files` are those of `_predictor`."""
    arguments = [engine, str(views), *(str(file.absolute()) for file in files)]
    return in_own_process("transfer.evaluation.prediction_cost", arguments, f"prediction with {engine}")


def in_own_process(module: str, arguments: list[str], what: str) -> dict[str, object]:
    """Run a module that measures something, named by `what`, and return what it printed last, which is JSON.

    If it fails or is killed, warn and return {}: what is measured is there, and only its cost is not known.
    """
    command = [sys.executable, "-m", module, *arguments]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if result.returncode:
        end = f"signal {-result.returncode}" if result.returncode < 0 else f"exit status {result.returncode}"
        why = "; it may have been out of memory" if result.returncode == -signal.SIGKILL else ""
        last = (result.stderr.strip().splitlines() or [""])[-1]
        again = f"{last}; run the stage again to measure it: dvc repro -s -f STAGE"
        print(f"       WARNING: {what}: measuring it failed, {end}{why}: {again}", file=sys.stderr, flush=True)
        return {}
    measured: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return measured


def _predictor(
    engine: str, files: list[Path], batch: int, views: int
) -> tuple[Callable[[Floats], object], tuple[int, ...]]:
    """Load a model (OpenVINO: its .xml; TensorFlow: its .json and .weights.h5) for batches of one size.

    Returns a function that predicts a batch in all views, and the shape of a batch.
    """
    if engine == "openvino":
        from transfer.inference.openvino_engine import OpenVINOEngine

        # One image is fastest with all cores on it, many with a core for each.
        loaded = OpenVINOEngine(files[0], rows=1, streams=1) if batch == 1 else OpenVINOEngine(files[0])
        return (lambda images: list(loaded.run([images] * views))), (batch, *loaded.row_shape)
    from transfer.inference.engines import TensorFlowEngine
    from transfer.networks.model_files import load

    network = load(files[0], files[1])
    graph = TensorFlowEngine(network.whole)
    return (lambda images: list(graph.run([images] * views))), (batch, *network.whole.input_shape[1:])


def median_seconds(work: Callable[[], object], warm_up: int, repeats: int) -> float:
    """Return the median time that a call takes, of `repeats` calls after `warm_up` others."""
    times = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[warm_up:])


def main() -> None:
    """Measure, and print JSON."""
    engine, views, files = sys.argv[1], int(sys.argv[2]), [Path(name) for name in sys.argv[3:]]
    result: dict[str, object] = {"engine": engine}
    for batch in (1, BATCH):
        predict, shape = _predictor(engine, files, batch, views)
        images = np.random.default_rng(0).random(shape, np.float32)
        seconds = median_seconds(partial(predict, images), WARM_UP, REPEATS[batch])
        result[f"seconds_per_image_batch_{batch}"] = round(seconds / batch, 6)
    result["peak_memory_bytes"] = peak_memory()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
