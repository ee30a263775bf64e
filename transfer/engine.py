"""Engines that compute a frozen network: OpenVINO, the fastest on CPUs, and TensorFlow."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol

import keras
import numpy as np
import openvino
import tensorflow as tf
from numpy.typing import NDArray

from transfer.errors import UserError

EngineName = Literal["auto", "openvino", "tensorflow"]
Array = NDArray[np.float32]

BATCH = 32  # images that an engine is given at a time
TOLERANCE = 1e-3
"""Largest difference between engines, relative to the largest value of the batch. That of float16 (2^-11 of a value),
in which activations are stored, is of the same size; two float32 engines differ by about 1e-5."""


class Engine(Protocol):
    """A frozen network, ready to compute. `run` takes float32 batches of any number of images up to `BATCH`."""

    name: str

    def run(self, batches: Iterable[Array]) -> Iterator[Array]:
        """Give the network's output for each batch, in order."""


class TensorFlowEngine:
    """The network as one TensorFlow graph."""

    name = "tensorflow"

    def __init__(self, model: keras.Model) -> None:
        self._call: Callable[[Array], tf.Tensor] = tf.function(
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)],
        )

    def run(self, batches: Iterable[Array]) -> Iterator[Array]:
        for batch in batches:
            yield self._call(batch).numpy()


def to_openvino(model: keras.Model) -> openvino.Model:
    """Convert a Keras model from float32 images to OpenVINO's representation, for any number of images."""
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    )
    return openvino.convert_model(concrete)


class OpenVINOEngine:
    """The network compiled by OpenVINO for the CPU.

    Each core computes on one thread, `ROWS` images at a time, so that results do not depend on the number of cores.
    """

    name = "openvino"
    ROWS = 2
    """Images in a request: small ones keep activations in the cache (measured: 2 rows 223 images/s, 32 rows 164)."""

    def __init__(self, model: openvino.Model | Path) -> None:
        core = openvino.Core()
        model = core.read_model(model) if isinstance(model, Path) else model.clone()
        self._row_shape = tuple(size.get_length() for size in list(model.input(0).partial_shape)[1:])
        model.reshape([self.ROWS, *self._row_shape])  # a fixed shape is faster than an open one
        cores = os.cpu_count() or 1
        # Without the precision hint OpenVINO computes in bfloat16 on CPUs that have it, with errors of percents.
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": str(cores),
            "INFERENCE_NUM_THREADS": str(cores),
        }
        self._compiled = core.compile_model(model, "CPU", options)
        self._requests = cores + 1  # one more than cores, so that none waits while Python prepares the next

    def run(self, batches: Iterable[Array]) -> Iterator[Array]:
        output_shape = tuple(self._compiled.output(0).shape)[1:]
        queue = openvino.AsyncInferQueue(self._compiled, self._requests)
        queue.set_callback(_keep_output)
        for batch in batches:
            output = np.empty((len(batch), *output_shape), np.float32)
            for start in range(0, len(batch), self.ROWS):
                rows = batch[start : start + self.ROWS]
                if len(rows) < self.ROWS:  # the last request of a batch repeats its last row
                    rows = np.concatenate([rows, np.repeat(rows[-1:], self.ROWS - len(rows), axis=0)])
                queue.start_async({0: rows}, (rows, output[start : start + self.ROWS]), share_inputs=True)
            queue.wait_all()
            yield output


def _keep_output(request: openvino.InferRequest, place: tuple[Array, Array]) -> None:
    """Copy what a request computed to its rows of the output. `place` also keeps its input alive until then."""
    _, output = place
    output[...] = request.get_output_tensor(0).data[: len(output)]


def choose(name: EngineName) -> EngineName:
    """Resolve "auto": TensorFlow where it has a GPU, OpenVINO otherwise."""
    if name != "auto":
        return name
    return "tensorflow" if tf.config.list_physical_devices("GPU") else "openvino"


def make_engine(model: keras.Model, name: EngineName) -> Engine:
    """Compile `model` for the engine of that name."""
    return TensorFlowEngine(model) if choose(name) == "tensorflow" else OpenVINOEngine(to_openvino(model))


def check_agreement(engine: Engine, model: keras.Model, batch: Array) -> float:
    """Compare an engine with TensorFlow on one batch.

    Returns the largest difference, relative to the largest absolute value that TensorFlow gives.

    Raises:
        UserError: it is greater than `TOLERANCE`.
    """
    (received,) = engine.run([batch])
    expected = model(batch, training=False).numpy()
    difference = float(np.max(np.abs(received - expected)) / max(float(np.max(np.abs(expected))), 1e-30))
    if not difference <= TOLERANCE:
        raise UserError(
            f"engine {engine.name}: expected the values that TensorFlow computes, within {TOLERANCE:.0e}, received a "
            f"difference of {difference:.1e}; use `engine: tensorflow` in params.yaml"
        )
    return difference
