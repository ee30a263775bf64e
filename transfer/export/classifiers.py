"""Exported classifiers, ready to classify.

A process that uses one imports its runtime and no other: TensorFlow only if a SavedModel is what it runs.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from transfer.core.arrays import Floats, Pixels
from transfer.core.errors import UserError, one_line
from transfer.core.params import Format
from transfer.core.quiet import without_notices
from transfer.export.contract import INPUT, OUTPUT, Contract
from transfer.export.formats import CONTRACT_ASSET, FORMATS, METADATA_NAME


class Classifier(Protocol):
    """A classifier and what has to be known of it."""

    contract: Contract

    def probabilities(self, images: Pixels) -> Floats:
        """Classify images, uint8 (n, height, width, channels): float32 (n, classes).

        Height and width are those of the contract, or any where it says that the classifier resizes.
        """


class OpenVINOClassifier:
    """OpenVINO's IR. Compiled for images of one size, which is fastest, and anew when another size comes."""

    def __init__(self, path: Path, latency: bool, fast: bool = False) -> None:
        import openvino

        self._model = openvino.Core().read_model(path)
        places = {field.name: [METADATA_NAME, field.name] for field in fields(Contract)}
        held = {name: place for name, place in places.items() if self._model.has_rt_info(place)}
        properties = {name: str(self._model.get_rt_info(place).value) for name, place in held.items()}
        self.contract = Contract.of_properties(properties, path)
        self._requests: dict[str, Any] = {"rows": 1, "streams": 1} if latency else {}
        self._requests["bfloat16"] = fast
        self._shape: tuple[int, ...] = ()

    def probabilities(self, images: Pixels) -> Floats:
        """See `Classifier`."""
        if images.shape[1:] != self._shape:
            from transfer.inference.openvino_engine import OpenVINOEngine

            self._shape = images.shape[1:]
            self._model.reshape([-1, *self._shape])
            self._engine = OpenVINOEngine(self._model, **self._requests)
        (result,) = self._engine.run([cast("NDArray[np.float32]", images)])  # its input is what the model says
        return result


class OnnxClassifier:
    """ONNX, run by ONNX Runtime."""

    def __init__(self, path: Path, latency: bool) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"], enable_fallback=0)
        self.contract = Contract.of_properties(self._session.get_modelmeta().custom_metadata_map, path)

    def probabilities(self, images: Pixels) -> Floats:
        """See `Classifier`."""
        (result,) = self._session.run([OUTPUT], {INPUT: images})
        return np.asarray(result, np.float32)


class LiteRTClassifier:
    """LiteRT, known as TensorFlow Lite before."""

    def __init__(self, path: Path, latency: bool) -> None:
        from ai_edge_litert.interpreter import Interpreter

        content = path.read_bytes()
        # The interpreter verifies the file before it reads it; what reads the metadata does not.
        self._interpreter = Interpreter(model_content=content, num_threads=os.cpu_count())
        with without_notices():  # of the first use of XNNPACK
            self._interpreter.allocate_tensors()
        self.contract = Contract.of_properties(_flatbuffer_properties(content), path)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._shape: tuple[int, ...] = ()

    def probabilities(self, images: Pixels) -> Floats:
        """See `Classifier`."""
        if images.shape != self._shape:
            self._shape = images.shape
            self._interpreter.resize_tensor_input(self._input, self._shape)
            self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output), np.float32)


def _flatbuffer_properties(content: bytes) -> dict[str, str]:
    """Read the contract's properties out of the table of metadata of a LiteRT model; empty if there are none."""
    from ai_edge_litert.schema_py_generated import Model

    model = Model.GetRootAs(content)
    entries = [model.Metadata(number) for number in range(model.MetadataLength())]
    buffers = {entry.Name().decode(): model.Buffers(entry.Buffer()) for entry in entries}
    if METADATA_NAME not in buffers:
        return {}
    properties: dict[str, str] = json.loads(buffers[METADATA_NAME].DataAsNumpy().tobytes())
    return properties


class SavedModelClassifier:
    """TensorFlow's SavedModel."""

    def __init__(self, path: Path, latency: bool) -> None:
        properties = json.loads((path / "assets" / CONTRACT_ASSET).read_text(encoding="utf-8"))
        self.contract = Contract.of_properties(properties, path)
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(path))  # has to outlive its signatures
        self._call: Callable[..., dict[str, tf.Tensor]] = self._loaded.signatures["serving_default"]
        self._tensor = tf.constant

    def probabilities(self, images: Pixels) -> Floats:
        """See `Classifier`."""
        result: Floats = self._call(**{INPUT: self._tensor(images)})[OUTPUT].numpy()
        return result


READERS: dict[str, Callable[[Path, bool], Classifier]] = {
    "openvino": OpenVINOClassifier,
    "onnxruntime": OnnxClassifier,
    "ai-edge-litert": LiteRTClassifier,
    "tensorflow": SavedModelClassifier,
}
"""By the package that runs it."""
SUFFIXES = {".xml": "openvino", ".onnx": "onnxruntime", ".tflite": "ai-edge-litert"}
"""The package that runs a file that somebody has put elsewhere; a SavedModel is a folder."""


def is_installed(package: str) -> bool:
    """Tell whether a runtime can be imported, without importing it."""
    return find_spec(package.replace("-", "_")) is not None


def require_packages(formats: Iterable[Format]) -> None:
    """Check that what runs the formats is installed, as each is compared with Keras before it is kept.

    Raises:
        UserError: a package is not.
    """
    if missing := {FORMATS[name].package for name in formats if not is_installed(FORMATS[name].package)}:
        raise UserError(
            f"params.yaml: export.formats: these packages are not installed: {', '.join(sorted(missing))}; pip install "
            "them, or leave out the formats that they run"
        )


def _place(folder: Path, name: Format) -> Path:
    """Return where a format lies in a folder that the stage export wrote, or in that format's own."""
    place = Path(FORMATS[name].place)
    own = folder / place.name
    return own if own.is_file() and folder.name == place.parent.name else folder / place


def choose_format(folder: Path, wanted: Format | None = None) -> Format:
    """Return the format to run out of a folder that the stage export wrote, or one in it: the fastest that can be run.

    Those that are less exact are taken only if nothing else is there, or if they are wanted.

    Raises:
        UserError: there is none, or not the one that is wanted.
    """
    there = [name for name in FORMATS if _place(folder, name).exists()]
    if not there:
        raise UserError(f"{folder}: no exported classifier; run dvc repro export, or dvc pull {folder}")
    if wanted is not None and wanted not in there:
        raise UserError(f"{folder}: expected the format {wanted}, received {', '.join(there)}")
    can_run = [name for name in there if is_installed(FORMATS[name].package)]
    if wanted is None and not can_run:
        needed = " or ".join(dict.fromkeys(FORMATS[name].package for name in there))
        raise UserError(f"{folder}: no package that runs it is installed; pip install {needed}")
    return wanted or can_run[0]


def find_classifier(path: Path, wanted: Format | None = None) -> Path:
    """Return the file, or for a SavedModel the folder, that `open_classifier` reads.

    `path` is the folder that the stage export wrote, or one format in it, wherever that lies now; `wanted` says which
    format of the folder, and None takes the fastest.

    Raises:
        UserError: no such file, none that was exported, or not in the format that is wanted.
    """
    if not path.exists():
        raise UserError(f"{path}: no exported classifier; run dvc repro export")
    if path.is_dir() and not (path / "saved_model.pb").exists():
        path = _place(path, choose_format(path, wanted))
    package = _package(path)
    if wanted is not None and FORMATS[wanted].package != package:
        raise UserError(f"{path}: not in the format {wanted}; {package} runs this file")
    return path


def _package(path: Path) -> str:
    """Return the package that runs an exported file or folder; a UserError says that it is none."""
    package = SUFFIXES.get(path.suffix) if path.is_file() else "tensorflow"
    if package is None:
        raise UserError(f"{path}: not an exported file; give a folder, .xml, .onnx or .tflite")
    return package


def open_classifier(path: Path, wanted: Format | None = None, latency: bool = False, fast: bool = False) -> Classifier:
    """Read an exported classifier.

    Args:
        path: see `find_classifier`.
        wanted: likewise.
        latency: prepare for single images that have to be quick, and not for many.
        fast: compute in bfloat16, with errors of percents, which OpenVINO does where the processor can.

    Raises:
        UserError: see `find_classifier`; or the file is damaged, or a runtime is not installed.
    """
    path = find_classifier(path, wanted)
    package = _package(path)
    if not is_installed(package):
        raise UserError(f"{path}: the package that runs it is not installed; pip install {package}")
    if fast and package != "openvino":
        raise UserError(f"{path}: --fast needs the format openvino; {package} runs this file")
    try:
        return OpenVINOClassifier(path, latency, fast) if fast else READERS[package](path, latency)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # each runtime has errors of its own
        raise UserError(
            f"{path}: expected a classifier that {package} can read, received: {one_line(error, 300)}"
        ) from error
