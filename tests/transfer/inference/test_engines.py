"""Tests of transfer/inference/engines.py and transfer/inference/openvino_engine.py."""

import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import openvino
import pytest
from keras import layers

from transfer.core.arrays import Floats
from transfer.core.errors import UserError
from transfer.inference import openvino_engine
from transfer.inference.engines import Engine, check_agreement, choose_engine, make_engine


def _model(size: int = 12) -> keras.Model:
    keras.utils.set_random_seed(0)
    entry = keras.Input((size, size, 3))
    x = layers.Conv2D(4, 3, 2, "same")(entry)
    return keras.Model(entry, layers.ReLU(6.0)(layers.BatchNormalization()(x)))


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_engine_gives_what_keras_gives_in_order_for_batches_of_any_size(name: str) -> None:
    model = _model()
    engine: Engine = make_engine(model, name)  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    batches = [random.random((size, 12, 12, 3), np.float32) for size in (5, 1, 32, 2)]
    received = list(engine.run(iter(batches)))
    assert [len(output) for output in received] == [5, 1, 32, 2]
    for batch, output in zip(batches, received, strict=True):
        np.testing.assert_allclose(output, model(batch, training=False).numpy(), atol=1e-5)
    assert check_agreement(engine, model, batches[2]) < 1e-5


def test_openvino_computes_the_next_batch_before_it_gives_one() -> None:
    asked: list[int] = []

    def batches() -> Iterator[Floats]:
        for number in range(3):
            asked.append(number)
            yield np.zeros((4, 12, 12, 3), np.float32)

    given = make_engine(_model(), "openvino").run(batches())
    next(given)
    assert asked == [0, 1]
    assert len(list(given)) == 2


def test_a_request_that_fails_is_an_error_and_no_wait_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no memory left")

    monkeypatch.setattr(openvino_engine, "_keep_output", fail)
    monkeypatch.setattr(openvino_engine, "PATIENCE_S", 0.1)
    with pytest.raises(OSError, match="no memory left"):
        list(make_engine(_model(), "openvino").run([np.zeros((4, 12, 12, 3), np.float32)]))


def test_no_callback_outlives_the_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of OpenVINO that waits for Python while this ends aborts the process."""
    ended: list[int] = []
    keep = openvino_engine._keep_output

    def slow(request: openvino.InferRequest, of: Any) -> None:
        keep(request, of)
        time.sleep(0.2)
        ended.append(1)

    monkeypatch.setattr(openvino_engine, "_keep_output", slow)
    list(make_engine(_model(), "openvino").run([np.zeros((2, 12, 12, 3), np.float32)]))
    assert ended == [1]


def test_an_engine_that_differs_is_refused() -> None:
    engine = make_engine(_model(), "openvino")
    other = _model()
    other.layers[1].set_weights([weight * 1.01 for weight in other.layers[1].get_weights()])
    pixels = np.random.default_rng(0).random((4, 12, 12, 3), np.float32)
    with pytest.raises(UserError, match=r"engine openvino: expected the values that TensorFlow computes"):
        check_agreement(engine, other, pixels)


def test_each_part_is_held_against_its_own_largest_value() -> None:
    def model(small: float) -> keras.Model:
        entry = keras.Input((3,))
        return keras.Model(entry, layers.Concatenate()([layers.Rescaling(scale)(entry) for scale in (1e4, small)]))

    engine, other = make_engine(model(1.0), "tensorflow"), model(1.01)
    values = np.random.default_rng(0).random((4, 3), np.float32)
    assert check_agreement(engine, other, values) < 1e-5
    with pytest.raises(UserError, match=r"a difference of 9\.9e-03"):
        check_agreement(engine, other, values, [3])


def test_auto_is_openvino_where_there_is_no_gpu() -> None:
    import tensorflow as tf

    expected = "tensorflow" if tf.config.list_physical_devices("GPU") else "openvino"
    assert choose_engine("auto") == expected
    assert choose_engine("tensorflow") == "tensorflow"


class _Bessel(layers.Layer):
    """An operation that OpenVINO does not have."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        import tensorflow as tf

        return tf.math.special.bessel_j0(x)


def test_what_openvino_cannot_convert_runs_on_tensorflow_for_auto(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transfer.inference.engines.choose_engine", lambda name: name.replace("auto", "openvino"))
    entry = keras.Input((4, 4, 3))
    model = keras.Model(entry, _Bessel()(entry))
    assert make_engine(model, "auto").name == "tensorflow"
    assert "OpenVINO cannot convert this network" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"engine openvino: OpenVINO cannot convert .* use `engine: tensorflow`"):
        make_engine(model, "openvino")
