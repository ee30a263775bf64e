"""What a server counts of itself, as Prometheus reads it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper bounds of the histograms' buckets."""


class Measures:
    """Counters of one server: a registry of its own, as a process may have several, in tests."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter("transfer_requests", "Requests answered", ["route", "status"], registry=self._registry)
        self.seconds = Histogram(
            "transfer_request_seconds",
            "From the first byte of a request to the last of its answer",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            "transfer_batch_images", "Images computed at a time", buckets=IMAGES, registry=self._registry
        )
        self.waiting = Gauge("transfer_images_waiting", "Images that are not answered yet", registry=self._registry)

    def text(self) -> bytes:
        """Write all of it in Prometheus' text format."""
        return generate_latest(self._registry)
