"""Tests of transfer/fitting.py; what it writes is tested with the stages."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from transfer.batches import ViewBatches
from transfer.files import read_json
from transfer.fitting import Outputs, fit
from transfer.model_files import ModelFiles
from transfer.network import Architecture, build
from transfer.recipe import Recipe
from transfer.spec import Spec

SPEC = Spec(("dark", "light"), None, "none", 8, 3, {})


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    monkeypatch.chdir(tmp_path)
    model = ModelFiles(Path("m.json"), Path("m.weights.h5"), Path("m.npy"))
    return Outputs(model, Path("curves"), Path("m-metrics.json"), Path("cost.json"))


def _fit(outputs: Outputs, recipe: Recipe, make_ready: Callable[[], None] = lambda: None) -> None:
    """Train an ANN on four images, which are made ready first."""

    def data() -> tuple[ViewBatches, ViewBatches]:
        make_ready()
        images, aims = np.random.default_rng(0).random((4, 8, 8, 3)), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
        return ViewBatches([images], aims, 4, 1), ViewBatches([images], aims, 4, None)

    architecture = Architecture("ann", 8, SPEC.classes, (), 0.0, inner_size=8)
    fit(build(architecture), architecture, data, SPEC, recipe, outputs, [], may_collapse=True)


def test_training_time_counts_what_makes_the_images_ready(outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.perf_counter
    slept: list[int] = []
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + sum(slept))
    _fit(outputs, Recipe(epochs=1, lr=0.1), lambda: slept.append(1000))
    assert read_json(outputs.cost)["seconds"] > 1000


def test_a_shorter_memory_of_the_average_is_said(outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    _fit(outputs, Recipe(epochs=20, lr=0.1, averaging=0.98))
    assert "averaging: 0.50, as over 20 steps, 0.98 would keep too much of the first ones" in capsys.readouterr().out
