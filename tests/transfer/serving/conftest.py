"""Applications to ask, in the process of the test."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.transfer.conftest import Exported
from transfer.core.arrays import Floats, Pixels
from transfer.export.classifiers import Classifier
from transfer.export.contract import Contract
from transfer.serving.app import make_app
from transfer.serving.limits import Limits
from transfer.serving.service import Classifiers

LIMITS = Limits(batch=8, waiting=16, explanations=2, max_bytes=100_000, max_pixels=10_000)


def encoded(pixels: Pixels, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def metric(client: TestClient, name: str) -> float:
    """The value of one line of /metrics, 0 if there is none."""
    lines = [line.rpartition(" ") for line in client.get("/metrics").text.splitlines()]
    return next((float(value) for said, _, value in lines if said == name), 0.0)


@pytest.fixture(scope="session")
def classifiers(exported: Exported) -> Classifiers:
    return Classifiers.open(exported.folder, None)


@contextmanager
def served(classifiers: Classifiers, limits: Limits = LIMITS) -> Iterator[TestClient]:
    with TestClient(make_app(classifiers, limits)) as client:
        yield client


@pytest.fixture
def client(classifiers: Classifiers) -> Iterator[TestClient]:
    with served(classifiers) as started:
        yield started


@dataclass
class Held:
    """A real classifier that computes when it is let, and remembers the sizes of its batches."""

    inner: Classifier
    go: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.contract: Contract = self.inner.contract

    def probabilities(self, images: Pixels) -> Floats:
        self.sizes.append(len(images))
        self.entered.set()
        assert self.go.wait(20)
        if self.error is not None:
            raise self.error
        return np.asarray(self.inner.probabilities(images))


@pytest.fixture
def held(classifiers: Classifiers) -> Held:
    return Held(classifiers.many)
