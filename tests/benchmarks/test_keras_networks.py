"""Tests of benchmarks/keras_networks.py."""

import csv

import keras

from benchmarks.keras_networks import describe, network_names
from transfer.core.cuts import KERAS_NETWORKS


def test_the_table_has_a_row_for_each_network_as_it_is_described_now() -> None:
    with KERAS_NETWORKS.open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == network_names()
    for name in ("MobileNetV3Small", "EfficientNetV2B0"):
        assert describe(name) == rows[name]
    assert (rows["ResNet50"]["trained_size"], rows["Xception"]["smallest_size"]) == ("224", "71")
    assert int(rows["VGG16"]["parameters"]) == 14_714_688, "as in the documentation of Keras, without the classifier"


def test_keras_is_left_as_it_was() -> None:
    before = keras.Model.load_weights, keras.src.utils.file_utils.get_file
    describe("MobileNetV3Small")
    assert (keras.Model.load_weights, keras.src.utils.file_utils.get_file) == before
