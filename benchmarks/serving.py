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
from urllib.parse import urlsplit

import numpy as np

from transfer.classifiers import open_classifier
from transfer.cost import write_json
from transfer.errors import UserError, run
from transfer.images import decode
from transfer.prediction import find_images, predict

RESULTS = Path("benchmarks/results/serving.json")
CLIENTS = (1, 8, 32)
ROUNDS, EACH = 3, 96
"""Of measurements, and requests, or images, in each."""
BATCH = 32
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


def ask(address: str, images: Sequence[Path]) -> list[float]:
    """Post one image after the other over one connection, and return the seconds of each."""
    seconds = []
    bodies = [(image.read_bytes(), {"content-type": TYPES[image.suffix.lower()]}) for image in images]
    with closing(http.client.HTTPConnection(address)) as connection:
        connection.connect()
        for body, headers in bodies:
            start = time.perf_counter()
            connection.request("POST", "/predict", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            seconds.append(time.perf_counter() - start)
            if answer.status != http.client.OK:
                raise UserError(f"/predict: expected 200, received {answer.status}: {said.decode()}")
    return seconds


def over_http(address: str, images: Sequence[Path], clients: int) -> tuple[list[float], float]:
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

    def one_by_one(self, images: Sequence[Path]) -> tuple[list[float], float]:
        """Return the seconds of each image, decoded and computed, and the images a second."""
        contract, seconds = self._single.contract, []
        for data in [image.read_bytes() for image in images]:
            start = time.perf_counter()
            self._single.probabilities(decode(data, contract.image_size, contract.channels).pixels[None])
            seconds.append(time.perf_counter() - start)
        return seconds, len(images) / sum(seconds)

    def together(self, images: Sequence[Path]) -> float:
        """Return the images a second, `BATCH` at a time."""
        start = time.perf_counter()
        found = list(predict(self._many, map(str, images), BATCH))
        return len(found) / (time.perf_counter() - start)


def summary(rounds: Sequence[tuple[list[float], float]]) -> dict[str, float]:
    """Return the median and the 95th percentile of all requests in milliseconds, and the median rate of the rounds."""
    milliseconds = 1e3 * np.concatenate([seconds for seconds, _ in rounds])
    return {
        "p50_ms": round(float(np.percentile(milliseconds, 50)), 1),
        "p95_ms": round(float(np.percentile(milliseconds, 95)), 1),
        "images_per_second": round(float(np.median([rate for _, rate in rounds])), 1),
    }


def measure(model: Path, images: Sequence[Path]) -> dict[str, object]:
    """Measure in turns; the first turn warms up and does not count."""
    bare, one_by_one, together = Bare(model), [], []
    http_rounds: dict[int, list[tuple[list[float], float]]] = {clients: [] for clients in CLIENTS}
    with served(model) as address:
        for turn in range(ROUNDS + 1):
            one_by_one.append(bare.one_by_one(images))
            for clients in CLIENTS:
                http_rounds[clients].append(over_http(address, images, clients))
            together.append(bare.together(images))
            print(f"round {turn} of {ROUNDS}", file=sys.stderr, flush=True)
    single = summary(one_by_one[1:])
    found = {str(clients): summary(rounds[1:]) for clients, rounds in http_rounds.items()}
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
    parser.add_argument("--images", type=Path, default=Path("data/raw/images"), help="default: data/raw/images")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    given = parser.parse_args()
    images = [Path(image) for image in find_images([str(given.images)]) if Path(image).suffix.lower() in TYPES][:EACH]
    write_json(measure(given.model, images), given.out)
    print(given.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
