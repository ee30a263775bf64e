"""What an exported classifier costs, measured in a process of its own: python -m transfer.export.cost FOLDER FORMAT

It imports no more than the runtime, and prints JSON: seconds to load it and for a single image (median), images a
second in batches of 32 (median), after warm-up, on images of the model's size, and the peak resident memory in bytes.
"""

import json
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np

from transfer.core.cost import peak_memory
from transfer.core.errors import run
from transfer.core.params import Format
from transfer.evaluation.prediction_cost import in_own_process, median_seconds
from transfer.export.classifiers import Classifier, open_classifier

BATCH = 32
WARM_UP = {1: 5, BATCH: 1}
REPEATS = {1: 50, BATCH: 7}


def measure(folder: Path, name: Format) -> dict[str, object]:
    """Start the measuring process and return what it printed, {} if it failed."""
    return in_own_process("transfer.export.cost", [str(folder.absolute()), name], name)


def _seconds(classifier: Classifier, count: int) -> float:
    """Return the median seconds that a batch of so many images takes."""
    contract = classifier.contract
    shape = (count, contract.image_size, contract.image_size, contract.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return median_seconds(lambda: classifier.probabilities(images), WARM_UP[count], REPEATS[count])


def main() -> None:
    """Measure, and print JSON."""
    folder, name = Path(sys.argv[1]), cast("Format", sys.argv[2])
    start = time.perf_counter()
    alone = open_classifier(folder, name, latency=True)
    loaded = time.perf_counter() - start
    cost = {
        "load_seconds": round(loaded, 3),
        "seconds_batch_1": round(_seconds(alone, 1), 6),
        "images_per_second_batch_32": round(BATCH / _seconds(open_classifier(folder, name), BATCH), 1),
        "peak_memory_bytes": peak_memory(),
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    run(main)
