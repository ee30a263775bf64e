"""The library behind the stages: importable and tested without DVC."""

import atexit
import gc
import os
import sys
from types import TracebackType

from transfer.core.quiet import QuietImport

# TensorFlow and Keras read these when they are first imported.
if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "0":
    sys.meta_path.insert(0, QuietImport())
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# By default TensorFlow uses oneDNN on recent processors only. On one with AVX2 but no AVX-512, an epoch of fine-tuning
# takes 70 s without it and 27 s with it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# By default TensorFlow takes all of a GPU's memory.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# At its end, Python would look for garbage among all objects of TensorFlow, for two seconds of each process.
atexit.register(gc.freeze)

# Without this package, OpenVINO does not report its use to a web service.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def _say_interrupted(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Report Ctrl-C during imports in one line; later, `errors.run` does."""
    if issubclass(kind, KeyboardInterrupt):
        print("error: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _say_interrupted
