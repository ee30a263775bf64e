"""What a peer is given and what it gives back, as files: peers run in other processes, and not all have TensorFlow."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer.core.cost import peak_memory
from transfer.core.files import write_json

CLASSES = 2
BATCH = 32  # images at a time, in training and in prediction

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Split:
    """The images of a split, in the order of the records: pixels uint8 (n, S, S, 1 or 3), labels int64 (n,)."""

    pixels: Pixels
    labels: Labels


@dataclass(frozen=True)
class Job:
    """What to train.

    `arrays` is the folder of the images (see `write_pixels`), `output` the one for the results. `weights` is the file
    of the backbone's weights, in the form that the peer reads. `epochs_scale` shortens a recipe: 1 leaves it as it is.
    """

    arrays: str
    weights: str
    output: str
    seed: int
    epochs_scale: float = 1.0

    def epochs(self, of_recipe: int) -> int:
        """Return how many epochs to train where the recipe has so many; at least 1."""
        return max(1, round(of_recipe * self.epochs_scale))

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(asdict(self), path)


@dataclass(frozen=True)
class Trained:
    """A trained model: what turns pixels uint8 (n, S, S, 1 or 3) into probabilities float32 (n, 2), and what to report
    of its training.
    """

    predict: Callable[[Pixels], Array]
    notes: Mapping[str, object]


Train = Callable[[Job, Split, Split], Trained]


def write_pixels(pixels: Pixels, labels: Labels | None, folder: Path, name: str) -> None:
    """Write the images of a split; without labels, what reads them cannot know what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.pixels.npy", pixels)
    if labels is not None:
        np.save(folder / f"{name}.labels.npy", labels)


def read_split(folder: Path, name: str) -> Split:
    """Read a split that `write_pixels` wrote with its labels."""
    return Split(np.load(folder / f"{name}.pixels.npy"), np.load(folder / f"{name}.labels.npy"))


def predictions_file(output: Path, name: str) -> Path:
    """Return where a peer writes its probabilities for a split, float32 (n, 2)."""
    return output / f"{name}.probabilities.npy"


def rgb(pixels: Pixels) -> Array:
    """Turn uint8 pixels (n, S, S, 1 or 3) into float32 RGB (n, S, S, 3) in 0–1, as `records.tfrecords.normalise` does.

    That one needs TensorFlow to be imported; a test compares the two.
    """
    scaled = np.divide(pixels, np.float32(255), dtype=np.float32)
    return scaled if pixels.shape[-1] == 3 else np.repeat(scaled, 3, axis=-1)


def run_job(train: Train, job: Job) -> None:
    """Train, and write what it took and what the model says of the validation and the test split.

    The seconds are those from the arrays to the trained model, without imports, and the memory is the largest until
    then; the test images are read afterwards.
    """
    arrays, output = Path(job.arrays), Path(job.output)
    start = time.perf_counter()
    trained = train(job, read_split(arrays, "train"), read_split(arrays, "validation"))
    cost = {"seconds": round(time.perf_counter() - start, 3), "peak_memory_bytes": peak_memory()}
    output.mkdir(parents=True, exist_ok=True)
    for name in ("validation", "test"):
        pixels: Pixels = np.load(arrays / f"{name}.pixels.npy")
        np.save(predictions_file(output, name), trained.predict(pixels))
    write_json({**cost, **trained.notes}, output / "cost.json")


def main(train: Train) -> None:
    """Run the job whose file is the only argument."""
    run_job(train, Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))


def report(epoch: int, epochs: int, loss: float, validation_loss: float) -> None:
    """Print how an epoch went; epochs count from 1."""
    text = f"  epoch {epoch} of {epochs}: loss {loss:.4f}, validation loss {validation_loss:.4f}"
    print(text, file=sys.stderr, flush=True)
