"""The library behind the stages: importable and tested without DVC."""

import os
import sys
from types import TracebackType

from transfer.core.quiet import QuietImport

# Read by TensorFlow and Keras when they are first imported, so they have to be set before that.
if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "0":
    sys.meta_path.insert(0, QuietImport())
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# By itself TensorFlow uses oneDNN on recent processors only. Measured on one that has AVX2 and no AVX-512, where it
# stays off: an epoch of fine-tuning takes 70 s without it and 27 s with it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# By itself TensorFlow takes all of a GPU's memory, from other programs too.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# OpenVINO reports its use to a web service unless somebody forbids it; without this package, it does not. Only the
# stage download is to have a network.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def _say_interrupted(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Say in a line that Ctrl-C came while modules were imported: `errors.run` says it later."""
    if issubclass(kind, KeyboardInterrupt):
        print("error: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _say_interrupted
