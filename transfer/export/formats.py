"""The formats that a classifier is exported in, where they lie below models/export, and how exact they have to be."""

from dataclasses import dataclass
from pathlib import Path

from transfer.core.params import Format


@dataclass(frozen=True)
class ExportFormat:
    """A format: its file, or folder, below that of the export; the package that runs it; and what is tolerated.

    `difference` is that of an image's probabilities from those of Keras, in the mean over the images, and `agreement`
    the smallest fraction of the images that Keras is sure of that has to get the same class (see
    `export.parity.Parity`).
    """

    place: str
    package: str
    difference: float
    agreement: float


FORMATS: dict[Format, ExportFormat] = {
    "openvino": ExportFormat("openvino/model.xml", "openvino", 1e-4, 0.99),
    "litert_float32": ExportFormat("litert/float32.tflite", "ai-edge-litert", 1e-4, 0.99),
    "onnx": ExportFormat("model.onnx", "onnxruntime", 1e-4, 0.99),
    "saved_model": ExportFormat("saved_model", "tensorflow", 1e-4, 0.99),
    # Weights of 11 bits, measured: 0.001.
    "litert_float16": ExportFormat("litert/float16.tflite", "ai-edge-litert", 0.01, 0.98),
    # Weights and activations of 8 bits: measured up to 0.04, and an agreement of 0.98 to 1.
    "litert_int8": ExportFormat("litert/int8.tflite", "ai-edge-litert", 0.1, 0.95),
}
"""From the fastest to the slowest of those that compute in float32, and then those that give up some exactness."""
METADATA_NAME = "transfer"
"""Under which the contract stands where a format keeps other metadata beside it."""
CONTRACT_ASSET = "contract.json"
"""Of a SavedModel, in its folder assets."""


def files_of(path: Path) -> list[Path]:
    """Return the files of a format: of its folder, if it has one to itself, or else its file and what goes with it."""
    found = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path, *sorted(path.rglob("*"))]
    return [file for file in found if file.is_file()]
