"""Computing a frozen network with OpenVINO. Imports no TensorFlow, so that a process that only predicts stays small."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import openvino

from transfer.core.arrays import Floats
from transfer.core.errors import UserError


class OpenVINOEngine:
    """The network compiled by OpenVINO for the CPU.

    Args:
        model: from float32 images (n, S, S, 3), in memory or as a file; stays as it is.
        rows: images in a request. Two keep activations in the cache (measured: 223 images/s; with 32 rows 164).
        streams: requests computed at a time; None for one a core, each on one thread, which is fastest for many images
            and makes results independent of the number of cores. One stream uses all cores for each request.
        bfloat16: compute in it, with errors of percents, and not in float32.

    Raises:
        UserError: the processor has no bfloat16 that is wanted.
    """

    name = "openvino"

    def __init__(
        self, model: openvino.Model | Path, rows: int = 2, streams: int | None = None, bfloat16: bool = False
    ) -> None:
        self.model = model
        core = openvino.Core()
        if bfloat16 and "BF16" not in (can := core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")):
            raise UserError(f"expected a processor that computes in bfloat16, received one with {', '.join(can)}")
        self._rows = rows
        model = core.read_model(model) if isinstance(model, Path) else model.clone()
        self.row_shape = tuple(size.get_length() for size in list(model.input(0).partial_shape)[1:])
        model.reshape([self._rows, *self.row_shape])  # a fixed shape is faster than an open one
        cores = os.cpu_count() or 1
        # Without the precision hint OpenVINO computes in bfloat16 on CPUs that have it.
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": str(streams or cores),
            "INFERENCE_NUM_THREADS": str(cores),
        }
        compiled = core.compile_model(model, "CPU", options)
        self._output_shape = tuple(compiled.output(0).shape)[1:]
        # One request more than streams, so that none waits while Python prepares the next.
        self._queue = openvino.AsyncInferQueue(compiled, (streams or cores) + 1)
        self._queue.set_callback(_keep_output)

    def run(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        for batch in batches:
            output = np.empty((len(batch), *self._output_shape), np.float32)
            for start in range(0, len(batch), self._rows):
                rows = batch[start : start + self._rows]
                if len(rows) < self._rows:  # the last request of a batch repeats its last row
                    rows = np.concatenate([rows, np.repeat(rows[-1:], self._rows - len(rows), axis=0)])
                self._queue.start_async({0: rows}, (rows, output[start : start + self._rows]), share_inputs=True)
            self._queue.wait_all()
            yield output


def _keep_output(request: openvino.InferRequest, place: tuple[Floats, Floats]) -> None:
    """Copy what a request computed to its rows of the output. `place` also keeps its input alive until then."""
    _, output = place
    output[...] = request.get_output_tensor(0).data[: len(output)]
