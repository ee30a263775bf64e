"""Tests of benchmarks/exports.py: what is not right is not called so."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import exports
from benchmarks.readme import exports_markdown
from tests.conftest import write_records
from tests.transfer.conftest import images_of, small_network
from transfer.core.spec import Spec
from transfer.export.calibrated import Calibrated
from transfer.export.formats import FORMATS
from transfer.export.parity import Reference
from transfer.records.tfrecords import Example


@pytest.fixture
def calibrated() -> Calibrated:
    return Calibrated(*small_network(3, 1))


@pytest.fixture
def expected(calibrated: Calibrated, tmp_path: Path) -> Reference:
    images = images_of(8, 3)
    examples = (Example(f"{number}.png", image, 0, float("nan"), 1.0) for number, image in enumerate(images))
    write_records(examples, tmp_path / "validation", images[0].nbytes)
    spec = Spec(calibrated.contract.classes, None, "none", images.shape[1], 3, {"validation": 8})
    return Reference(tmp_path / "validation", spec, calibrated.probabilities(images).numpy())


def test_a_format_that_says_what_keras_says_is_ok(calibrated: Calibrated, expected: Reference, tmp_path: Path) -> None:
    found = exports.tried(calibrated, expected, tmp_path / "export")["openvino"]
    assert found["status"] == "ok"
    assert found["largest_difference"] < 1e-4
    assert f"{found['mean_difference']:.0e} |" in exports_markdown({"backbones": {"a": {"openvino": found}}})


def test_a_difference_and_a_failure_are_named(calibrated: Calibrated, expected: Reference, tmp_path: Path) -> None:
    other = replace(expected, probabilities=np.roll(expected.probabilities, 1, axis=1))
    found = exports.tried(calibrated, other, tmp_path / "export")["openvino"]
    assert found["status"].startswith("its probabilities differ from Keras by")
    assert found["largest_difference"] > 0.1
    entry = keras.Input((calibrated.contract.image_size, calibrated.contract.image_size, 3))
    x = keras.layers.Dense(3)(keras.layers.Flatten()(entry))
    refused = keras.Model(entry, keras.layers.Softmax()(keras.layers.Activation(keras.ops.erfinv)(x)))
    every = exports.tried(Calibrated(refused, calibrated.contract), expected, tmp_path / "export")
    assert list(every) == list(FORMATS)
    assert every["onnx"]["status"].startswith("its converter cannot write this network")
    shown = exports_markdown({"backbones": {"a": {"openvino": found, "onnx": every["onnx"]}}})
    assert (shown.count("**too far**"), shown.count("**no**")) == (1, 1)


def test_networks_with_random_weights_tell_images_apart() -> None:
    images = images_of(16, 3, (64, 64))
    whole = exports.network("mobilenetv2", images).whole
    assert np.std(whole.predict(images / np.float32(255), verbose=0)[:, 0]) > 0.2
