"""Tests of transfer/training/fit.py; what it writes is tested with the stages."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from transfer.core.files import read_json
from transfer.core.spec import Spec
from transfer.networks.model_files import ModelFiles
from transfer.networks.network import Architecture, build
from transfer.training.batches import ViewBatches
from transfer.training.fit import Outputs, fit
from transfer.training.recipe import Job, Recipe

SPEC = Spec(("dark", "light"), None, "none", 8, 3, {})


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    monkeypatch.chdir(tmp_path)
    model = ModelFiles(Path("m.json"), Path("m.weights.h5"), Path("m.npy"))
    return Outputs(model, Path("m-metrics.json"), Path("cost.json"))


def _fit(outputs: Outputs, recipe: Recipe, make_ready: Callable[[], None] = lambda: None) -> None:
    """Train an ANN on four images, which are made ready first."""

    def data() -> tuple[ViewBatches, ViewBatches]:
        make_ready()
        images, targets = np.random.default_rng(0).random((4, 8, 8, 3)), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
        return ViewBatches([images], targets, 4, 1), ViewBatches([images], targets, 4, None)

    network = build(Architecture("ann", 8, SPEC.classes, (), 0.0, inner_size=8))
    job = Job("ann", network.top, SPEC, recipe, Path("curves"))
    fit(job, network, data, outputs, may_collapse=True)


def test_training_time_counts_what_makes_the_images_ready(outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.perf_counter
    slept: list[int] = []
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + sum(slept))
    _fit(outputs, Recipe(epochs=1, lr=0.1), lambda: slept.append(1000))
    assert read_json(outputs.cost)["seconds"] > 1000


def test_a_shorter_memory_of_the_average_is_said(outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    _fit(outputs, Recipe(epochs=20, lr=0.1, averaging=0.98))
    assert "averaging: 0.50, as over 20 steps, 0.98 would keep too much of the first ones" in capsys.readouterr().out
