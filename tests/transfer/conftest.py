"""Classifiers exported from small networks, made once for all tests that read them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import pytest

from transfer.core.arrays import Pixels
from transfer.core.spec import Resize
from transfer.evaluation.calibration import temper
from transfer.export.calibrated import Calibrated
from transfer.export.contract import Contract
from transfer.export.formats import FORMATS
from transfer.export.write import write
from transfer.networks.network import Architecture, build
from transfer.networks.seeds import fix_seeds
from transfer.records.tfrecords import normalise
from transfer.records.views import apply_view

SIZE = 32
CLASSES = ("blue, light", "red", "grün")
TEMPERATURE = 0.7


@dataclass(frozen=True)
class Exported:
    """A network, what it was exported as, and what Keras says of images of its size, calibrated."""

    folder: Path
    contract: Contract
    keras: Callable[[Pixels], np.ndarray]


def images_of(count: int, channels: int, size: tuple[int, int] = (SIZE, SIZE)) -> Pixels:
    """Smooth images, all different: uint8 (count, height, width, channels)."""
    random = np.random.default_rng(count)
    coarse = random.integers(0, 256, (count, 4, 4, channels))
    rows, columns = (np.arange(length) * 4 // length for length in size)
    noise = random.normal(0, 10, (count, *size, channels))
    return np.clip(coarse[:, rows][:, :, columns] + noise, 0, 255).astype(np.uint8)


def small_network(channels: Literal[1, 3], views: Literal[1, 2, 4, 8]) -> tuple[keras.Model, Contract]:
    """A CNN with random weights that says different things of different images, and its contract."""
    fix_seeds(3)
    network = build(Architecture("cnn", SIZE, CLASSES, (), 0.0, inner_size=16, filters=(8, 8)))
    small = network.trunk(normalise(images_of(21, channels)))
    logits, layer = network.top(small).numpy(), network.top.get_layer("logits")
    scale = 2 / logits.std(axis=0)
    layer.set_weights([layer.get_weights()[0] * scale, -logits.mean(axis=0) * scale])
    contract = Contract(
        "cnn", CLASSES, SIZE, channels, True, "look at it", views, TEMPERATURE, "colours", "CC0-1.0", "nobody"
    )
    return network.whole, contract


def export(folder: Path, channels: Literal[1, 3], views: Literal[1, 2, 4, 8], resize: Resize = "squash") -> Exported:
    """Write all formats."""
    whole, contract = small_network(channels, views)
    contract = replace(contract, resize=resize)
    for name, made in FORMATS.items():
        write(Calibrated(whole, contract), name, folder / made.place)

    def judge(pixels: Pixels) -> np.ndarray:
        ready = normalise(pixels)
        each = [whole(np.ascontiguousarray(apply_view(ready, view))).numpy() for view in range(views)]
        return temper(np.mean(each, axis=0), TEMPERATURE)

    return Exported(folder, contract, judge)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Of colour images, in one view."""
    return export(tmp_path_factory.mktemp("colour"), 3, 1)


@pytest.fixture(scope="session")
def exported_grey(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Of grey images, padded, as the mean of eight views."""
    return export(tmp_path_factory.mktemp("grey"), 1, 8, "pad")
