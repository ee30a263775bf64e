"""Tests of transfer/export/write.py; the formats are tested with their exporters, the stage in tests/stages."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.transfer.conftest import SIZE, images_of, small_network
from transfer.core.errors import UserError
from transfer.export.calibrated import Calibrated
from transfer.export.classifiers import open_classifier
from transfer.export.write import write


def _network(function: Callable[[keras.KerasTensor], keras.KerasTensor]) -> Calibrated:
    """A network with a function in its middle."""
    contract = small_network(3, 1)[1]
    entry = keras.Input((SIZE, SIZE, 3))
    x = layers.Dense(3, function)(layers.Flatten()(entry))
    return Calibrated(keras.Model(entry, layers.Softmax()(layers.Dense(3)(x))), contract)


def test_an_exact_gelu_is_the_same_in_onnx(tmp_path: Path) -> None:
    """As in a Vision Transformer: TensorFlow computes it with Erfc, which ONNX has not."""
    network, images = _network(lambda x: keras.activations.gelu(x, approximate=False)), images_of(8, 3)
    write(network, ["onnx"], lambda: images, tmp_path)
    expected = network.probabilities(images).numpy()
    assert np.ptp(expected, axis=0).min() > 1e-3
    np.testing.assert_allclose(open_classifier(tmp_path, "onnx").probabilities(images), expected, atol=1e-5)


def test_a_network_that_a_converter_cannot_write_is_a_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"model\.onnx: expected a network that can be written as onnx, received .*Erfinv.*; leave onnx out of "
        r"export\.formats",
    ):
        write(_network(lambda x: keras.ops.erfinv(x / 100)), ["onnx"], lambda: images_of(1, 3), tmp_path)
