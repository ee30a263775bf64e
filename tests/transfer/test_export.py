"""Tests of transfer/export.py; the formats are tested with their exporters, the stage in tests/stages."""

from dataclasses import replace
from pathlib import Path

import keras
import pytest
from keras import layers

from tests.transfer.conftest import SIZE, images_of, small_network
from transfer.calibrated import Calibrated
from transfer.errors import UserError
from transfer.export import write


def test_a_network_that_a_converter_cannot_write_is_a_line_that_says_what_to_do(tmp_path: Path) -> None:
    """tf2onnx has no Erfc, in which TensorFlow computes an exact GELU."""
    _, contract = small_network(3, 1)
    entry = keras.Input((SIZE, SIZE, 3))
    x = layers.Dense(3, lambda x: keras.activations.gelu(x, approximate=False))(layers.Flatten()(entry))
    network = Calibrated(keras.Model(entry, layers.Softmax()(x)), replace(contract, resizes=True))
    with pytest.raises(
        UserError,
        match=r"model\.onnx: expected a network that can be written as onnx, received .*Erfc.*; leave onnx out of "
        r"export\.formats",
    ):
        write(network, ["onnx"], lambda: images_of(1, 3), tmp_path)
