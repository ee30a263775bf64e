"""Each format says what Keras says, of images of any size, and holds all that has to be known, in the same bytes."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import onnx
import openvino
import pytest
from ai_edge_litert.schema_py_generated import ModelT
from keras import layers
from PIL import Image

from tests.conftest import ROOT
from tests.transfer.conftest import SIZE, Exported, images_of, small_network
from transfer.core.arrays import Pixels
from transfer.core.params import Format
from transfer.export.calibrated import Calibrated
from transfer.export.classifiers import open_classifier
from transfer.export.contract import Contract, preprocessing
from transfer.export.exporters import int8_share
from transfer.export.formats import FORMATS
from transfer.export.write import write
from transfer.networks.seeds import fix_seeds
from transfer.records.tfrecords import normalise

RESIZING: list[Format] = ["openvino", "onnx", "saved_model"]
LITERT: list[Format] = ["litert_float32", "litert_float16", "litert_int8"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["exported", "exported_grey"])
def test_a_format_gives_the_calibrated_probabilities_of_keras(
    kind: str, name: Format, request: pytest.FixtureRequest
) -> None:
    model: Exported = request.getfixturevalue(kind)
    images = images_of(21, model.contract.channels)
    expected = model.keras(images)
    assert np.ptp(expected, axis=0).min() > 0.5  # or a constant would do
    classifier = open_classifier(model.folder, name)
    for count in (21, 1, 2):  # the batch is open
        received = classifier.probabilities(images[:count])
        assert received.dtype == np.float32
        if name == "litert_int8":
            assert count < 21 or np.abs(received - expected).mean() < 0.05
        else:
            np.testing.assert_allclose(received, expected[:count], atol=5e-3 if name == "litert_float16" else 1e-5)
        np.testing.assert_allclose(received.sum(axis=1), 1, atol=0.02)


@pytest.mark.parametrize(("size", "within"), [((41, 97), 4e-3), ((20, 50), 4e-3), ((32, 64), 4e-3), ((97, 41), 0.02)])
@pytest.mark.parametrize("name", RESIZING)
@pytest.mark.parametrize("kind", ["exported", "exported_grey"])
def test_a_model_that_resizes_does_it_as_pillow(
    kind: str, name: Format, size: tuple[int, int], within: float, request: pytest.FixtureRequest
) -> None:
    model: Exported = request.getfixturevalue(kind)
    channels = model.contract.channels
    images = images_of(5, channels, size)
    flat = images[..., 0] if channels == 1 else images
    resized = [Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR) for image in flat]
    expected = model.keras(np.stack([np.asarray(image).reshape(32, 32, channels) for image in resized]))
    received = open_classifier(model.folder, name).probabilities(images)
    np.testing.assert_allclose(received, expected, atol=within)  # of a tall image, see `export.parity.LARGER`


@pytest.mark.parametrize("name", FORMATS)
def test_the_contract_travels_with_the_file(name: Format, exported: Exported) -> None:
    expected = exported.contract
    if name in LITERT:
        expected = replace(expected, resizes=False, preprocessing=preprocessing(expected.conversion, resizes=False))
    assert open_classifier(exported.folder, name).contract == expected


def _plain(exported: Exported) -> dict[str, object]:
    """The contract as JSON has it."""
    values: dict[str, object] = json.loads(json.dumps(asdict(exported.contract)))
    return values


def test_each_formats_own_library_finds_the_contract(exported: Exported) -> None:
    folder = exported.folder
    model = onnx.load(folder / "model.onnx")
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props} == _plain(exported)
    ir = openvino.Core().read_model(folder / "openvino/model.xml")
    assert json.loads(ir.get_rt_info(["transfer", "classes"]).value) == list(exported.contract.classes)
    assert json.loads(ir.get_rt_info(["transfer", "licence"]).value) == "CC0-1.0"
    asset = json.loads((folder / "saved_model/assets/contract.json").read_text(encoding="utf-8"))
    assert {name: json.loads(value) for name, value in asset.items()} == _plain(exported)
    lite = ModelT.InitFromPackedBuf((folder / "litert/int8.tflite").read_bytes(), 0)
    (buffer,) = [lite.buffers[entry.buffer] for entry in lite.metadata if entry.name == b"transfer"]
    held = {name: json.loads(value) for name, value in json.loads(bytes(buffer.data)).items()}
    assert held["temperature"] == 0.7
    assert held["resizes"] is False
    assert "takes no other size" in held["preprocessing"]


def test_inputs_and_outputs_have_names_and_open_shapes(exported: Exported) -> None:
    model = onnx.load(exported.folder / "model.onnx")
    (entry,), (result,) = model.graph.input, model.graph.output
    assert (entry.name, result.name) == ("pixels", "probabilities")
    assert [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim] == [
        "images",
        "height",
        "width",
        3,
    ]
    ir = openvino.Core().read_model(exported.folder / "openvino/model.xml")
    assert (ir.input(0).any_name, ir.output(0).any_name) == ("pixels", "probabilities")
    assert str(ir.input(0).partial_shape) == "[?,?,?,3]"
    assert ir.input(0).element_type == openvino.Type.u8


def _dark(count: int) -> Pixels:
    return images_of(count, 3) // 32


@pytest.fixture
def depthwise() -> Calibrated:
    """A network of convolutions, one of them depthwise, that tells dark images apart."""
    fix_seeds(3)
    entry = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(128, 3, strides=2, activation="relu", use_bias=False)(entry)
    x = layers.DepthwiseConv2D(3, activation="relu", use_bias=False)(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 1)(x))
    logits = layers.Dense(3)
    network = keras.Model(entry, layers.Softmax()(logits(x)))
    spread = keras.Model(entry, logits.output)(normalise(_dark(21))).numpy()
    scale = 2 / spread.std(axis=0)
    logits.set_weights([logits.get_weights()[0] * scale, -spread.mean(axis=0) * scale])
    return Calibrated(network, small_network(3, 1)[1])


def test_int8_has_a_range_for_each_image(depthwise: Calibrated, tmp_path: Path) -> None:
    """Ranges fixed by brighter images leave dark ones a few levels, and changed their classes."""
    write(depthwise, "litert_int8", tmp_path / "int8.tflite")
    images = _dark(21)
    expected = depthwise.probabilities(images).numpy()
    assert np.ptp(expected, axis=0).min() > 0.5
    received = open_classifier(tmp_path / "int8.tflite").probabilities(images)
    assert np.abs(received - expected).max(axis=1).mean() < 0.05
    assert (received.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.9


def test_int8_is_what_convolutions_hold_except_depthwise_ones(depthwise: Calibrated, tmp_path: Path) -> None:
    path = tmp_path / "int8.tflite"
    write(depthwise, "litert_int8", path)
    lite = ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    constants = {
        tuple(tensor.shape): tensor.type
        for tensor in lite.subgraphs[0].tensors
        if lite.buffers[tensor.buffer].data is not None
    }
    FLOAT32, INT8 = 0, 9  # of the schema
    assert constants[128, 3, 3, 3] == INT8
    assert constants[64, 1, 1, 128] == INT8
    assert constants[1, 3, 3, 128] == FLOAT32
    held = 128 * 27 + 64 * 128
    assert int8_share(path) == pytest.approx(held / (held + 9 * 128 + 64 * 3), abs=0.02)  # and the biases


LOADED = """
import sys
from pathlib import Path
from transfer.export.classifiers import open_classifier
import numpy as np
open_classifier(Path(sys.argv[1]), "litert_int8").probabilities(np.zeros((2, 32, 32, 3), np.uint8))
"""


def test_litert_prints_nothing_when_it_is_first_used(exported: Exported) -> None:
    command = [sys.executable, "-c", LOADED, str(exported.folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("name", ["onnx", "litert_int8"])
def test_converters_print_nothing(
    name: Format, depthwise: Calibrated, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(depthwise, name, tmp_path / "model")
    assert capfd.readouterr() == ("", "")


AGAIN = """
import sys
from pathlib import Path
from tests.transfer.conftest import export
export(Path(sys.argv[1]), 1, 2)
"""


@pytest.mark.slow
def test_the_same_network_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    written = []
    for seed in ("1", "2"):  # of the order of Python's sets
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", AGAIN, str(folder)], cwd=ROOT, env=environment, check=True
        )
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        written.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})
    assert list(written[0]) == list(written[1])
    assert [name for name in written[0] if written[0][name] != written[1][name]] == []
    assert len(written[0]) == 10


def test_constants_that_a_layer_holds_are_no_inputs(tmp_path: Path) -> None:
    entry = keras.Input((8, 8, 3))
    x = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])(entry)  # as in EfficientNetV2
    whole = keras.Model(entry, layers.Softmax()(layers.Dense(2)(layers.Flatten()(x))))
    contract = Contract("m", ("a", "b"), 8, 3, True, "look at it", 1, 1.0, "d", "l", "c")
    write(Calibrated(whole, contract), "onnx", tmp_path / "model.onnx")
    images = images_of(4, 3, (8, 8))
    received = open_classifier(tmp_path, "onnx").probabilities(images)
    np.testing.assert_allclose(received, whole(normalise(images)).numpy(), atol=1e-6)


def test_onnx_folds_batch_normalisation_into_the_convolution(tmp_path: Path) -> None:
    entry = keras.Input((8, 8, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False)(entry)))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x))
    whole = keras.Model(entry, layers.Softmax()(layers.Dense(2)(x)))
    contract = Contract("m", ("a", "b"), 8, 3, True, "look at it", 1, 1.0, "d", "l", "c")
    write(Calibrated(whole, contract), "onnx", tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    scaled = ["Cast", "Mul", "Transpose"]  # pixels to 0-1
    kinds = [node.op_type for node in graph.node]
    assert kinds[kinds.index("Cast") :] == [*scaled, "Conv", "Relu", "Conv", "ReduceMean", "Gemm", "Softmax"]
    assert [entry.name for entry in graph.input] == ["pixels"]
