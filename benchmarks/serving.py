"""What HTTP costs beside the bare classifier: python -m benchmarks.serving

Needs the outputs of `dvc repro`, and `make .venv/serve`. The bare classifier (an image decoded and computed, as
`python -m transfer predict` does it) and clients on loopback take turns, so that a disturbance of the machine hits
both. The clients are threads of this process, on the same cores as the server: they keep their connections, and each
asks again as soon as it is answered.
"""

import argparse
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import numpy as np

from transfer.core.errors import UserError, run
from transfer.core.files import write_json
from transfer.dataset.decode import decode_pixels
from transfer.dataset.shards import open_shard, shards
from transfer.export.classifiers import open_classifier
from transfer.serving.arguments import find_images
from transfer.serving.predict import predict

RESULTS = Path("benchmarks/results/serving.json")
CLIENTS = (8, 32)
"""At a time, besides a single one."""
ROUNDS, EACH = 3, 96
"""Of measurements, and requests, or images, in each."""
BATCH = 32
RAW = Path("data/raw/images")
Round = tuple[list[float], float]
"""The seconds of each request, or image, and the images a second."""
TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".bmp": "image/bmp"}


@contextmanager
def served(model: Path) -> Iterator[str]:
    """Start a server on a free port, and give its host and port."""
    command = [sys.executable, "-m", "transfer", "serve", "--model", str(model), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = urlsplit(process.stdout.readline().partition(" ")[0]).netloc
        if not address:
            raise UserError(f"serve: expected a server, received: {process.communicate()[1].strip()}")
        yield address
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


class Client:
    """A connection that is kept, for images one after the other."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)
        self._connection.connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def seconds(self, image: Path) -> float:
        """Post an image, and return the seconds until its answer was read.

        Raises:
            UserError: the answer is an error.
        """
        body, headers = image.read_bytes(), {"content-type": TYPES[image.suffix.lower()]}
        start = time.perf_counter()
        self._connection.request("POST", "/predict", body, headers)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != http.client.OK:
            raise UserError(f"/predict: expected 200, received {answer.status}: {said.decode()}")
        return time.perf_counter() - start


def ask(address: str, images: Sequence[Path]) -> list[float]:
    """Post one image after the other over one connection, and return the seconds of each."""
    with closing(Client(address)) as client:
        return [client.seconds(image) for image in images]


def over_http(address: str, images: Sequence[Path], clients: int) -> Round:
    """Return the seconds of each request of several clients at a time, and the images a second of all."""
    shares = [images[number::clients] for number in range(clients)]
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        seconds = [value for share in threads.map(lambda share: ask(address, share), shares) for value in share]
    return seconds, len(images) / (time.perf_counter() - start)


class Bare:
    """The classifier without a server: one image at a time, and many."""

    def __init__(self, model: Path) -> None:
        self._single, self._many = open_classifier(model, latency=True), open_classifier(model)

    def seconds(self, image: Path) -> float:
        """Decode and compute an image, and return the seconds."""
        contract, data = self._single.contract, image.read_bytes()
        start = time.perf_counter()
        pixels = decode_pixels(data, contract.image_size, contract.channels, contract.conversion)
        self._single.probabilities(pixels[None])
        return time.perf_counter() - start

    def together(self, images: Sequence[Path]) -> float:
        """Return the images a second, `BATCH` at a time."""
        start = time.perf_counter()
        found = list(predict(self._many, map(str, images), BATCH))
        return len(found) / (time.perf_counter() - start)


def alternating(bare: Bare, address: str, images: Sequence[Path]) -> tuple[Round, Round]:
    """Compute each image without the server and with it, by turns: what computes without a rest is at a disadvantage on
    a busy machine. Returns the seconds and the images a second of both.
    """
    with closing(Client(address)) as client:
        pairs = [(bare.seconds(image), client.seconds(image)) for image in images]
    without, over = (list(seconds) for seconds in zip(*pairs, strict=True))
    return (without, len(images) / sum(without)), (over, len(images) / sum(over))


def summary(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the median and the 95th percentile of all requests in milliseconds, and the median rate of the rounds."""
    milliseconds = 1e3 * np.concatenate([seconds for seconds, _ in rounds])
    return {
        "p50_ms": round(float(np.percentile(milliseconds, 50)), 1),
        "p95_ms": round(float(np.percentile(milliseconds, 95)), 1),
        "images_per_second": round(float(np.median([rate for _, rate in rounds])), 1),
    }


def measure(model: Path, images: Sequence[Path]) -> dict[str, object]:
    """Measure in turns; the first turn warms up and does not count."""
    bare, together = Bare(model), []
    rounds: dict[str, list[Round]] = {"bare": [], "1": [], **{str(clients): [] for clients in CLIENTS}}
    with served(model) as address:
        for turn in range(ROUNDS + 1):
            for name, measured in zip(("bare", "1"), alternating(bare, address, images), strict=True):
                rounds[name].append(measured)
            for clients in CLIENTS:
                rounds[str(clients)].append(over_http(address, images, clients))
            together.append(bare.together(images))
            print(f"round {turn} of {ROUNDS}", file=sys.stderr, flush=True)
    found = {name: summary(all_rounds[1:]) for name, all_rounds in rounds.items()}
    single = found.pop("bare")
    return {
        "cores": os.cpu_count(),
        "requests": ROUNDS * len(images),
        "bare_one_at_a_time": single,
        "bare_many_images_per_second": round(float(np.median(together[1:])), 1),
        "http_by_clients": found,
        "one_client_p50_ratio": round(found["1"]["p50_ms"] / single["p50_ms"], 2),
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description="What HTTP costs.")
    parser.add_argument("--model", type=Path, default=Path("models/export"), help="default: models/export")
    parser.add_argument("--images", type=Path, help="a folder of them; default: those of data/raw")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        if given.images is None:
            with open_shard(shards(RAW)[0]) as shard:
                shard.extractall(temporary, shard.namelist()[:EACH])
        found = list(find_images([str(given.images or temporary)]))
        images = [Path(image) for image in found if Path(image).suffix.lower() in TYPES][:EACH]
        write_json(measure(given.model, images), given.out)
    print(given.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
