"""Tests of transfer/export/write.py; the formats are tested with their exporters, the stage in tests/stages."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import write_records
from tests.transfer.conftest import CLASSES, SIZE, images_of, small_network
from transfer.core.errors import UserError
from transfer.core.params import Format
from transfer.core.spec import Spec
from transfer.export.calibrated import Calibrated
from transfer.export.classifiers import open_classifier
from transfer.export.parity import Reference
from transfer.export.write import Exported, clear_format, export, write
from transfer.records.tfrecords import Example


def _network(function: Callable[[keras.KerasTensor], keras.KerasTensor]) -> Calibrated:
    """A network with a function in its middle."""
    contract = small_network(3, 1)[1]
    entry = keras.Input((SIZE, SIZE, 3))
    x = layers.Dense(3, function)(layers.Flatten()(entry))
    return Calibrated(keras.Model(entry, layers.Softmax()(layers.Dense(3)(x))), contract)


def test_an_exact_gelu_is_the_same_in_onnx(tmp_path: Path) -> None:
    """As in a Vision Transformer: TensorFlow computes it with Erfc, which ONNX has not."""
    network, images = _network(lambda x: keras.activations.gelu(x, approximate=False)), images_of(8, 3)
    write(network, "onnx", tmp_path / "model.onnx")
    expected = network.probabilities(images).numpy()
    assert np.ptp(expected, axis=0).min() > 1e-3
    np.testing.assert_allclose(open_classifier(tmp_path, "onnx").probabilities(images), expected, atol=1e-5)


def test_a_grouped_convolution_is_the_same_in_onnx(tmp_path: Path) -> None:
    """As in ConvNeXt; Keras wraps it into a function for XLA, and ONNX has no operator that calls one."""
    entry = keras.Input((SIZE, SIZE, 3))
    x = layers.Flatten()(layers.Conv2D(6, 3, strides=4, groups=3)(entry))
    network = Calibrated(keras.Model(entry, layers.Softmax()(layers.Dense(3)(x))), small_network(3, 1)[1])
    images = images_of(8, 3)
    write(network, "onnx", tmp_path / "model.onnx")
    expected = network.of_one_size()(images).numpy()
    assert np.ptp(expected, axis=0).min() > 1e-3
    np.testing.assert_allclose(open_classifier(tmp_path, "onnx").probabilities(images), expected, atol=1e-5)


FIGURES = {"largest_difference": 0.6}


def test_a_format_that_is_left_out_is_an_error_only_if_none_is_written() -> None:
    bad: dict[Format, dict[str, object]] = {"openvino": {"reason": "it is bad"}, "onnx": {"reason": "it is worse"}}
    Exported({"litert_int8": FIGURES}, bad).require_any()
    with pytest.raises(UserError, match=r"no format could be written \(openvino: it is bad; onnx: it is worse\); list"):
        Exported({}, bad).require_any()


def test_a_network_that_a_converter_cannot_write_is_a_line(tmp_path: Path) -> None:
    network = _network(lambda x: keras.ops.erfinv(x / 100))
    with pytest.raises(UserError, match=r"^its converter cannot write this network: .*Erfinv"):
        write(network, "onnx", tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["openvino", "onnx", "litert_float32", "saved_model"])
def test_a_format_that_its_runtime_cannot_run_is_not_written(name: Format, tmp_path: Path) -> None:
    """Every runtime refuses grey images where the network takes colours, each with an error of its own."""
    grey = images_of(2, 1)
    write_records([Example(f"{i}", image, 0, np.nan, 1.0) for i, image in enumerate(grey)], tmp_path / "test", SIZE**2)
    expected = Reference(tmp_path / "test", Spec(CLASSES, None, "none", SIZE, 1, {"test": 2}), np.eye(2, 3))
    done = export(Calibrated(*small_network(3, 1)), [name], expected, tmp_path / "export")
    assert not done.written
    assert done.not_written[name]["reason"].startswith("its runtime cannot run this network: ")
    assert not [path for path in (tmp_path / "export").rglob("*") if path.is_file()]


def test_a_format_that_is_left_out_names_what_to_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = images_of(2, 3)
    examples = [Example(f"{i}", image, 0, np.nan, 1.0) for i, image in enumerate(images)]
    write_records(examples, tmp_path / "test", images[0].nbytes)
    network = _network(lambda x: keras.ops.erfinv(x / 100))
    said = network.probabilities(images).numpy()
    expected = Reference(tmp_path / "test", Spec(CLASSES, None, "none", SIZE, 3, {"test": 2}), said)
    done = export(network, ["saved_model", "onnx"], expected, tmp_path / "export")
    assert list(done.written) == ["saved_model"]
    warning = capsys.readouterr().err.splitlines()[-1]
    assert warning.startswith("       WARNING: onnx left out: its converter cannot write this network: ")
    assert warning.endswith("; use saved_model")


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device")])
def test_what_the_machine_lacks_ends_the_export(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("transfer.export.write.write_onnx", fails)
    with pytest.raises(type(error)):
        write(Calibrated(*small_network(3, 1)), "onnx", tmp_path / "model.onnx")


def test_a_format_is_removed_with_all_that_it_has(tmp_path: Path) -> None:
    for place in ("openvino/model.xml", "openvino/model.bin", "litert/a.tflite", "litert/b.tflite", "saved/x/y"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    for place in ("openvino/model.xml", "litert/a.tflite", "saved", "never/there.onnx"):
        clear_format(tmp_path / place)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["litert", "litert/b.tflite"]
