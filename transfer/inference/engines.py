"""Engines that compute a frozen network: OpenVINO, the fastest on CPUs, and TensorFlow."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import keras
import numpy as np
import openvino
import tensorflow as tf
from openvino.frontend.tensorflow import utils

from transfer.core.arrays import Floats
from transfer.core.errors import UserError, one_line
from transfer.inference.openvino_engine import OpenVINOEngine

EngineName = Literal["auto", "openvino", "tensorflow"]

COMPARED = 8  # images that engines are compared on
TOLERANCE = 1e-3
"""Largest difference between engines, relative to the largest value of the batch. That of float16 (2^-11 of a value),
in which activations are stored, is of the same size; two float32 engines differ by about 1e-5."""


class Engine(Protocol):
    """A frozen network, ready to compute. `run` takes float32 batches of any number of images up to `records.BATCH`."""

    name: str

    def run(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        """Give the network's output for each batch, in order; the next batch may be asked for before that."""


class TensorFlowEngine:
    """The network as one TensorFlow graph."""

    name = "tensorflow"

    def __init__(self, model: keras.Model) -> None:
        self._call: Callable[[Floats], tf.Tensor] = tf.function(
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)],
        )

    def run(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        for batch in batches:
            yield self._call(batch).numpy()


def to_openvino(model: keras.Model) -> openvino.Model:
    """Convert a Keras model from float32 images to OpenVINO's representation, for any number of images.

    Raises:
        UserError: OpenVINO cannot.
    """
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    )
    try:
        return convert(concrete)
    except Exception as error:  # OpenVINO has several, all its own
        reason = f"OpenVINO cannot convert this network: {one_line(error, 200)}"
        raise UserError(f"engine openvino: {reason}; use `engine: tensorflow` in params.yaml") from error


def convert(concrete: Any) -> openvino.Model:
    """Convert a concrete function of TensorFlow to OpenVINO's representation.

    From Python 3.13 on, OpenVINO 2026.4.1 does not find TensorFlow's version: it runs `import tensorflow` and then
    `del tensorflow` by exec, which no longer share their names (PEP 667). So it is told.
    """
    if sys.version_info >= (3, 13):
        utils.get_environment_setup = lambda _: {"tensorflow": tf.__version__}
    return openvino.convert_model(concrete)


def choose_engine(name: EngineName) -> EngineName:
    """Resolve "auto": TensorFlow where it has a GPU, OpenVINO otherwise."""
    if name != "auto":
        return name
    return "tensorflow" if tf.config.list_physical_devices("GPU") else "openvino"


def make_engine(model: keras.Model, name: EngineName) -> Engine:
    """Compile `model` for the engine of that name. For "auto", what OpenVINO cannot convert runs on TensorFlow.

    Raises:
        UserError: OpenVINO is asked for by name, and cannot convert it.
    """
    if choose_engine(name) == "openvino":
        try:
            return OpenVINOEngine(to_openvino(model))
        except UserError as error:
            if name != "auto":
                raise
            print(f"{error}; auto does so")
    return TensorFlowEngine(model)


def check_agreement(engine: Engine, model: keras.Model, batch: Floats, ends: Sequence[int] = ()) -> float:
    """Compare an engine with TensorFlow on the first images of a batch.

    Returns the largest difference, relative to the largest absolute value that TensorFlow gives: that of the same part,
    where values (n, …) are divided at `ends` of their second axis.

    Raises:
        UserError: it is greater than `TOLERANCE`.
    """
    batch = batch[:COMPARED]
    (received,) = engine.run([batch])
    (expected,) = TensorFlowEngine(model).run([batch])  # a graph: eager calls would keep every layer's output
    parts = zip(*(np.split(values, ends, axis=1) for values in (received, expected)), strict=True)
    differences = [np.max(np.abs(got - right)) / max(float(np.max(np.abs(right))), 1e-30) for got, right in parts]
    difference = float(np.max(differences))  # NaN if one is
    if not difference <= TOLERANCE:
        raise UserError(
            f"engine {engine.name}: expected the values that TensorFlow computes, within {TOLERANCE:.0e}, received a "
            f"difference of {difference:.1e}; use `engine: tensorflow` in params.yaml"
        )
    return difference
