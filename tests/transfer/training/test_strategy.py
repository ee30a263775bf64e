"""Tests of transfer/training/strategy.py: the same training on two devices, and in 16 bits."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from tests.conftest import ROOT
from transfer.core.params import Precision
from transfer.core.spec import Spec
from transfer.networks.network import Architecture, build
from transfer.networks.seeds import fix_seeds
from transfer.training.batches import ViewBatches
from transfer.training.fit import in_float32
from transfer.training.loop import Outcome, predict, train
from transfer.training.recipe import Job, Recipe
from transfer.training.strategy import training_on

SPEC = Spec(("dark", "light"), "light", "none", 8, 3, {})
RECIPE = Recipe(
    epochs=4, lr=0.02, warmup=0.25, weight_decay=0.1, label_smoothing=0.1, clip_norm=0.5, class_weights="balanced"
)
IN_ANOTHER_PROCESS = """
import json, sys
import tensorflow as tf
from pathlib import Path

cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.transfer.training.test_strategy import trained

print(json.dumps([trained(Path(sys.argv[1]) / str(len(of)), of, averaging) for of, averaging in (
    ([], 0.0), (["CPU:0", "CPU:1"], 0.0), ([], 0.8), (["CPU:0", "CPU:1"], 0.8)
)]))
"""


@dataclass(frozen=True)
class _Data:
    """Light images among dark ones: 48 to train on, 16 to validate."""

    train: ViewBatches
    validation: ViewBatches


def _data() -> _Data:
    random = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = random.normal(0.2, 0.1, (64, 8, 8, 3)) + 0.4 * labels[:, None, None, None]
    targets = np.eye(2, dtype=np.float32)[labels]
    return _Data(ViewBatches([images[:48]], targets[:48], 16, 1), ViewBatches([images[48:]], targets[48:], 16, None))


def _network() -> keras.Model:
    entry = x = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(entry, layers.Dense(2, dtype="float32")(x))


def trained(folder: Path, devices: list[str], averaging: float) -> dict[str, Any]:
    """Train the same network on the same batches, on so many devices, and say what came of it."""
    fix_seeds(1)
    data = _data()
    with training_on("float32", devices):
        top = _network()
        recipe = Recipe(**{**RECIPE.__dict__, "averaging": averaging})
        outcome = train(Job("test", top, SPEC, recipe, folder), data.train, data.validation)
        replicas = top.distribute_strategy.num_replicas_in_sync
    curves = {
        name: pd.read_csv(folder / f"plots/metrics/{name}.tsv", sep="\t").iloc[:, 1].tolist()
        for name in ("train/loss", "train/f1", "validation/loss", "validation/f1")
    }
    weights = np.concatenate([weight.ravel() for weight in top.get_weights()])
    return {"replicas": replicas, "curves": curves, "best": outcome.best, "weights": weights.tolist()}


@pytest.mark.slow
def test_two_devices_come_to_the_losses_and_weights_of_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    results = json.loads(done.stdout.splitlines()[-1])
    for one, two in (results[:2], results[2:]):
        assert (one["replicas"], two["replicas"]) == (1, 2)
        assert one["curves"]["train/loss"][0] > one["curves"]["train/loss"][-1] + 0.01  # something was learnt
        for name, curve in one["curves"].items():
            assert two["curves"][name] == pytest.approx(curve, abs=1e-5)
        assert two["best"] == pytest.approx(one["best"], abs=1e-5)
        np.testing.assert_allclose(two["weights"], one["weights"], atol=1e-5)
    assert np.abs(np.subtract(results[0]["weights"], results[2]["weights"])).max() > 1e-3  # averaging does something


def _in(precision: Precision, folder: Path, averaging: float = 0.0) -> tuple[keras.Model, Outcome]:
    fix_seeds(1)
    data = _data()
    with training_on(precision):
        top = _network()
        recipe = Recipe(**{**RECIPE.__dict__, "averaging": averaging, "epochs": 8, "lr": 0.1})
        return top, train(Job("test", top, SPEC, recipe, folder / precision), data.train, data.validation)


@pytest.fixture(scope="module", params=[0.0, 0.8])
def in_32_bits(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[float, keras.Model, Outcome]:
    """How strongly weights are averaged, and a network trained so."""
    return request.param, *_in("float32", tmp_path_factory.mktemp("single"), request.param)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_16_bits_learn_what_32_learn(
    precision: Precision, in_32_bits: tuple[float, keras.Model, Outcome], tmp_path: Path
) -> None:
    averaging, single, expected = in_32_bits
    top, outcome = _in(precision, tmp_path, averaging)
    assert top.layers[1].compute_dtype == precision.removeprefix("mixed_")
    assert {str(weight.dtype) for weight in top.get_weights()} == {"float32"}
    assert single.layers[1].compute_dtype == keras.config.dtype_policy().name == "float32"
    assert outcome.best == pytest.approx(expected.best, abs=0.05)
    differences = [np.abs(a - b).max() for a, b in zip(top.get_weights(), single.get_weights(), strict=True)]
    assert max(differences) > 0  # it is another computation


def test_a_fine_tuned_network_in_16_bits_is_written_as_one_in_32(tmp_path: Path) -> None:
    """Above a cut, where convolutions and batch normalisation are one: what is kept says in 32 bits what it is."""
    fix_seeds(1)
    architecture = Architecture("transfer", 32, ("dark", "light"), (4,), 0.0, "efficientnet_lite0")
    with training_on("mixed_bfloat16"):
        network = build(architecture, "block6")
    assert network.top.layers[-1].dtype_policy.name == "mixed_bfloat16"
    random = np.random.default_rng(0)
    activations = random.normal(0, 1, (16, *network.top.input_shape[1:]))
    inputs = ViewBatches([activations], np.eye(2, dtype=np.float32)[np.arange(16) % 2], 16, None)
    rounded, exact = (predict(top, inputs) for top in (network.top, in_float32(network).top))
    assert 0 < np.abs(rounded - exact).max() < 0.05
    single = build(architecture, "block6")
    single.whole.set_weights(network.whole.get_weights())
    np.testing.assert_array_equal(predict(single.top, inputs), exact)
    assert in_float32(single) is single
