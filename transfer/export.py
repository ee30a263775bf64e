"""Export the winner: all formats, each held against Keras, and a table of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from transfer.calibrated import Calibrated
from transfer.cards import Card
from transfer.classifiers import open_classifier
from transfer.contract import PREPROCESSING, RESIZED_INSIDE, Contract
from transfer.engine import BATCH
from transfer.exporters import write_litert, write_onnx, write_openvino, write_saved_model
from transfer.formats import FORMATS
from transfer.images import Pixels
from transfer.params import Format
from transfer.parity import Reference, check, compare
from transfer.records import read_records
from transfer.spec import Spec

REPRESENTATIVE = 128
"""Training images that tell the ranges of activations, for int8."""


def make_contract(model: str, card: Card, spec: Spec, views: int, temperature: float) -> Contract:
    """Say what the exported model will take and give."""
    return Contract(
        model=model,
        classes=spec.classes,
        image_size=spec.image_size,
        channels=cast("Literal[1, 3]", spec.channels),
        resizes=True,
        preprocessing=PREPROCESSING + RESIZED_INSIDE,
        views=cast("Literal[1, 2, 4, 8]", views),
        temperature=temperature,
        dataset=card.title,
        licence=card.licence,
        citation=card.citation,
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
    """Write the formats into an empty folder. `images` gives the representative ones, if they are needed."""
    for name in formats:
        path = folder / FORMATS[name].place
        path.parent.mkdir(parents=True, exist_ok=True)
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


def table(contract: Contract, figures: dict[str, Any], cost: dict[str, Any]) -> str:
    """Return metrics/EXPORT.md: what was exported, a row for each format."""
    header = ["format", "size", "a single image", "32 at a time", "largest difference", "mean", "same class", "resizes"]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
    for name, found in figures["formats"].items():
        spent, resizing = cost[name], found["resize_difference"]
        rows.append(
            [
                f"`{name}`: {FORMATS[name].place}",
                f"{found['bytes'] / 1e6:.1f} MB",
                f"{spent['seconds_batch_1'] * 1e3:.1f} ms",
                f"{spent['images_per_second_batch_32']:.0f} images/s",
                f"{found['largest_difference']:.1e} (tolerated: {found['tolerated_difference']:g})",
                f"{found['mean_difference']:.1e}",
                f"{found['agreement']:.1%} (tolerated: {found['tolerated_agreement']:.0%})",
                "no" if resizing is None else f"within {resizing:.1e}",
            ]
        )
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    size = f"{contract.image_size} x {contract.image_size} pixels"
    return f"""# Exported: `{contract.model}`

The model with the highest accuracy on the validation split, from uint8 images (n, height, width, {contract.channels})
to probabilities of {", ".join(contract.classes)}, calibrated (temperature {contract.temperature:g}).
Differences are those of an image's probabilities from Keras' on all {figures["images"]} images of the validation split.
*Resizes* says how much they change where the model resizes larger images to {size}, and not Pillow;
LiteRT has no resize that filters as Pillow's does, and takes that size only. Images: {contract.licence}.

{lines}
"""
