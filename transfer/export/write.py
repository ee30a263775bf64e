"""Export the winner in all formats, and compare each with Keras."""

import contextlib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import tensorflow as tf

from transfer.core.cards import Card
from transfer.core.errors import UserError, one_line
from transfer.core.params import Format
from transfer.core.quiet import without_notices
from transfer.core.spec import Conversion, Spec
from transfer.export.calibrated import Calibrated
from transfer.export.classifiers import open_classifier, require_packages
from transfer.export.contract import Contract, preprocessing
from transfer.export.exporters import int8_share, write_litert, write_onnx, write_openvino, write_saved_model
from transfer.export.formats import FORMATS
from transfer.export.parity import Reference, check, compare


def make_contract(model: str, card: Card, spec: Spec, views: int, scores: Mapping[str, float]) -> Contract:
    """Say what the exported model will take and give; `scores` is its metrics/evaluate/MODEL.json."""
    conversion = Conversion(spec.bit_depth, spec.background, spec.resize)
    return Contract(
        model=model,
        classes=spec.classes,
        image_size=spec.image_size,
        channels=cast("Literal[1, 3]", spec.channels),
        resizes=True,
        preprocessing=preprocessing(conversion, resizes=True),
        views=cast("Literal[1, 2, 4, 8]", views),
        temperature=scores["temperature"],
        dataset=card.title,
        licence=card.licence,
        citation=card.citation,
        bit_depth=conversion.bit_depth,
        background=conversion.background,
        resize=conversion.resize,
        positive=spec.positive if spec.positive_class is not None else None,
        threshold=scores.get("threshold"),
    )


@dataclass(frozen=True)
class Exported:
    """What became of the formats: the figures of those that are written, and of the others why not (`reason`), with
    their figures as far as they were measured.
    """

    written: dict[Format, dict[str, Any]]
    not_written: dict[Format, dict[str, Any]]

    def require_any(self) -> None:
        """Check that a format is written.

        Raises:
            UserError: none is.
        """
        if not self.written:
            why = "; ".join(f"{name}: {found['reason']}" for name, found in self.not_written.items())
            raise UserError(
                f"export: no format could be written ({why}); list others in export.formats (params.yaml), or export "
                "another model"
            )


def export(network: Calibrated, formats: Sequence[Format], expected: Reference, folder: Path) -> Exported:
    """Write the formats into an empty folder, compare each with Keras, and remove what is too far from it.

    Raises:
        UserError: a package that runs a format is not installed.
    """
    require_packages(formats)
    done = Exported({}, {})
    for name in formats:
        path, figures = folder / FORMATS[name].place, {}
        try:
            write(network, name, path)
            with _named("its runtime cannot run this network"):
                found = compare(open_classifier(folder, name), path, expected)
            figures = found.figures(name)
            if name == "litert_int8":
                figures["int8_weights"] = int8_share(path)
            check(found, name)
        except UserError as error:
            clear_format(path)
            done.not_written[name] = {"reason": str(error), **figures}
            use = f"; use {' or '.join(done.written)}" if done.written else ""
            print(f"       WARNING: {name} left out: {error}{use}", file=sys.stderr, flush=True)
        else:
            done.written[name] = figures
            print(f"       {name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
    return done


def clear_format(path: Path) -> None:
    """Remove the file, or the folder, of a format, and the folder that it has to itself, if it is empty then."""
    for file in (path, path.with_suffix(".bin")):
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others are in it
        path.parent.rmdir()


def write(network: Calibrated, name: Format, path: Path) -> None:
    """Write a format.

    Raises:
        UserError: its converter cannot write this network.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named("its converter cannot write this network"), _quiet_converter():
        if name == "saved_model":
            write_saved_model(network, path)
        elif name == "onnx":
            write_onnx(network, path)
        elif name == "openvino":
            write_openvino(network, path)
        else:
            write_litert(network, path, name.removeprefix("litert_"))


@contextlib.contextmanager
def _quiet_converter() -> Iterator[None]:
    """Keep from the terminal what converters print about themselves, in C++ and by TensorFlow's logger."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        with without_notices():
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _named(problem: str) -> Iterator[None]:
    """Turn an error of a converter or a runtime, each of which has its own, into a UserError that names the problem."""
    try:
        yield
    except (UserError, MemoryError, OSError):
        raise
    except Exception as error:
        raise UserError(f"{problem}: {one_line(error, 200)}") from error
