"""Export the winner in all formats, and hold each against Keras."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from transfer.core.arrays import Pixels
from transfer.core.cards import Card
from transfer.core.errors import UserError
from transfer.core.params import Format
from transfer.core.spec import Conversion, Spec
from transfer.export.calibrated import Calibrated
from transfer.export.classifiers import open_classifier
from transfer.export.contract import Contract, preprocessing
from transfer.export.exporters import write_litert, write_onnx, write_openvino, write_saved_model
from transfer.export.formats import FORMATS
from transfer.export.parity import Reference, check, compare
from transfer.records.tfrecords import BATCH, read_records

REPRESENTATIVE = 128
"""Training images that tell the ranges of activations, for int8."""


def make_contract(model: str, card: Card, spec: Spec, views: int, temperature: float) -> Contract:
    """Say what the exported model will take and give."""
    conversion = Conversion(spec.bit_depth, spec.background)
    return Contract(
        model=model,
        classes=spec.classes,
        image_size=spec.image_size,
        channels=cast("Literal[1, 3]", spec.channels),
        resizes=True,
        preprocessing=preprocessing(conversion, resizes=True),
        views=cast("Literal[1, 2, 4, 8]", views),
        temperature=temperature,
        dataset=card.title,
        licence=card.licence,
        citation=card.citation,
        bit_depth=conversion.bit_depth,
        background=conversion.background,
    )


def representative(records: Path, spec: Spec) -> Pixels:
    """Return training images, evenly spread over the records: uint8 (n, S, S, channels)."""
    count = spec.counts[records.name]
    chosen = set(np.linspace(0, count - 1, min(count, REPRESENTATIVE)).round().astype(int).tolist())
    images, start = [], 0
    for batch in read_records(records, spec, BATCH):
        images += [batch.pixels[row] for row in range(len(batch.labels)) if start + row in chosen]
        start += len(batch.labels)
    return np.stack(images)


def write(network: Calibrated, formats: Sequence[Format], images: Callable[[], Pixels], folder: Path) -> None:
    """Write the formats into an empty folder. `images` gives the representative ones, if they are needed.

    Raises:
        UserError: a format's converter cannot write this network.
    """
    for name in formats:
        path = folder / FORMATS[name].place
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(network, name, images, path)
        except (UserError, MemoryError, OSError):
            raise
        except Exception as error:  # each converter has errors of its own
            raise UserError(
                f"{path}: expected a network that can be written as {name}, received from its converter: "
                f"{' '.join(str(error).split())[:200]}; leave {name} out of export.formats (params.yaml)"
            ) from error


def _write(network: Calibrated, name: Format, images: Callable[[], Pixels], path: Path) -> None:
    if name == "saved_model":
        write_saved_model(network, path)
    elif name == "onnx":
        write_onnx(network, path)
    elif name == "openvino":
        write_openvino(network, path)
    else:
        kind = name.removeprefix("litert_")
        write_litert(network, path, kind, images() if kind == "int8" else None)


def hold_against_keras(formats: Sequence[Format], folder: Path, expected: Reference) -> dict[str, dict[str, Any]]:
    """Compare what was written with Keras.

    Raises:
        UserError: a format differs by more than is tolerated.
    """
    figures: dict[str, dict[str, Any]] = {}
    for name in formats:
        path = folder / FORMATS[name].place
        found = compare(open_classifier(folder, name), path, expected)
        figures[name] = found.figures(name)
        print(f"       {name}: " + ", ".join(f"{key} {value}" for key, value in figures[name].items()), flush=True)
        check(found, name, path)
    return figures
