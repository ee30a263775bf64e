"""Computing a frozen network with OpenVINO. Imports no TensorFlow, so that a process that only predicts stays small."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore

import numpy as np
import openvino

from transfer.core.arrays import Floats
from transfer.core.errors import UserError

WAITING = 3  # requests for each stream
PATIENCE_S = 10.0


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
        # More requests than streams, so that none waits while Python writes a batch and prepares the next.
        self._queue = openvino.AsyncInferQueue(compiled, WAITING * (streams or cores))
        self._queue.set_callback(_keep_output)
        self._failed = False

    def run(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        """Give the output of each batch, in order, while the next one is computed."""
        before: _Output | None = None
        try:
            for batch in batches:
                output = self._start(batch)
                if before:
                    yield self._finished(before)
                before = output
            if before:
                yield self._finished(before)
        finally:
            if not self._failed:
                self._queue.wait_all()  # a thread that is still in the callback when Python ends aborts the process

    def _start(self, batch: Floats) -> "_Output":
        """Queue the requests of a batch."""
        output = _Output(np.empty((len(batch), *self._output_shape), np.float32), -(-len(batch) // self._rows))
        for start in range(0, len(batch), self._rows):
            rows = batch[start : start + self._rows]
            if len(rows) < self._rows:  # the last request of a batch repeats its last row
                rows = np.concatenate([rows, np.repeat(rows[-1:], self._rows - len(rows), axis=0)])
            self._queue.start_async({0: rows}, (output, start, rows), share_inputs=True)
        return output

    def _finished(self, output: "_Output") -> Floats:
        for _ in range(output.requests):
            while not output.done.acquire(timeout=PATIENCE_S):
                self._failed = True  # OpenVINO raises what a request failed with, and aborts if it is asked again
                self._queue.wait_all()
                self._failed = False
        return output.values


@dataclass(frozen=True)
class _Output:
    """What becomes of a batch: the rows of `values` are complete once `done` was released by each of the requests."""

    values: Floats
    requests: int
    done: Semaphore = field(default_factory=lambda: Semaphore(0))


def _keep_output(request: openvino.InferRequest, of: tuple[_Output, int, Floats]) -> None:
    """Copy what a request computed to its rows of the output. `of` also keeps its input alive until then."""
    output, start, rows = of
    place = output.values[start : start + len(rows)]
    place[...] = request.get_output_tensor(0).data[: len(place)]
    output.done.release()
