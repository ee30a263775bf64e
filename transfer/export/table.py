"""What was exported, as a table: metrics/EXPORT.md, and a part of docs/deploy.md."""

from typing import Any

from transfer.core.params import Format
from transfer.evaluation.markdown import markdown_table, plain
from transfer.export.contract import Contract
from transfer.export.formats import FORMATS


def _row(name: Format, found: dict[str, Any], spent: dict[str, Any]) -> dict[str, str]:
    """Return the row of a format, of what was found of it and what it spent, {} if that was not measured."""
    resizing = found["resize_difference"]
    single, many = ("not measured",) * 2
    if spent:
        single, many = f"{spent['seconds_batch_1'] * 1e3:.1f} ms", f"{spent['images_per_second_batch_32']:.0f} images/s"
    return {
        "format": f"`{name}`: {FORMATS[name].place}",
        "size": f"{found['bytes'] / 1e6:.1f} MB"
        + (f", {found['int8_weights']:.0%} of the weights int8" if "int8_weights" in found else ""),
        "a single image": single,
        "32 at a time": many,
        "mean difference": f"{found['mean_difference']:.1e} (tolerated: {found['tolerated_mean_difference']:g})",
        "largest": f"{found['largest_difference']:.1e}",
        "same class": f"{found['agreement']:.1%}, where sure {found['agreement_where_sure']:.1%} (tolerated: "
        f"{found['tolerated_agreement']:.0%})",
        "resizing": "outside" if resizing is None else f"within {resizing:.1e}",
    }


def exported_markdown(figures: dict[str, Any], cost: dict[str, Any]) -> str:
    """Return a table with a row for each format, and below it why others were left out, in Markdown.

    `figures` is metrics/export.json, and `cost` metrics/export-cost.json.
    """
    rows = [_row(name, found, cost[name]) for name, found in figures["formats"].items()]
    use = " or ".join(f"`{name}`" for name in figures["formats"]) or "another model"
    missing = [
        f"`{name}` was left out: {plain(found['reason'])}; use {use}."
        for name, found in figures.get("not_written", {}).items()
    ]
    return "\n\n".join([*([markdown_table(rows)] if rows else []), *missing])


def export_report(contract: Contract, figures: dict[str, Any], cost: dict[str, Any]) -> str:
    """Return metrics/EXPORT.md."""
    size = f"{contract.image_size} x {contract.image_size} pixels"
    return f"""# Exported: `{contract.model}`

The model with the highest accuracy on the validation split, from uint8 images (n, height, width, {contract.channels})
to probabilities of {", ".join(map(plain, contract.classes))}, calibrated (temperature {contract.temperature:g}).
Differences are between the probabilities of Keras and of the format, on all {figures["images"]} images of the
validation split. Keras is *sure* where the most likely class leads by 0.1 or more. *Resizing*: how much a probability
changes if the model, and not Pillow, resizes larger images to {size}; LiteRT cannot do that and takes that
size only. Images: {plain(contract.licence)}.

{exported_markdown(figures, cost)}
"""
