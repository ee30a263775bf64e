"""The programs of docs/deploy.md print what the classifiers give."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.conftest import ROOT
from tests.transfer.conftest import Exported, images_of
from transfer.core.params import Format
from transfer.core.spec import Resize
from transfer.dataset.decode import decode_pixels, make_square
from transfer.export.classifiers import open_classifier
from transfer.export.model_card import PROGRAM

PROGRAMS: dict[str, Format] = {
    "ONNX Runtime": "onnx",
    "OpenVINO": "openvino",
    "LiteRT": "litert_float32",
    "TensorFlow": "saved_model",
}
"""The format that each reads, by its heading."""
BLOCK = re.compile(r"### ([^\n]+)\n\n```python\n(.*?)```", re.DOTALL)
ORIENTATION, LEFT_90 = 0x0112, 6  # of EXIF: the camera was turned


def programs() -> dict[str, str]:
    """The programs of the page, by their headings."""
    return dict(BLOCK.findall((ROOT / "docs/deploy.md").read_text(encoding="utf-8")))


@pytest.fixture(params=["exported", "exported_grey"])
def model(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A model that squashes or pads where the programs look for it, beside a photo in colour that lies on its side."""
    exported: Exported = request.getfixturevalue(request.param)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/export").symlink_to(exported.folder)
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[ORIENTATION] = LEFT_90
    Image.fromarray(images_of(1, 3, (97, 41))[0]).save("image.png", exif=exif)
    return exported


SQUARE = re.compile(r"^square = .*\n.*$", re.MULTILINE)
"""The lines of a program that make an image square."""


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_programs_make_images_square_as_the_pipeline_does(resize: Resize, mode: str) -> None:
    (lines,) = {found for program in programs().values() for found in SQUARE.findall(program)}  # in all the same
    image = Image.fromarray(images_of(1, 3, (31, 93))[0]).convert(mode)
    names: dict[str, Any] = {"Image": Image, "ImageOps": ImageOps, "partial": partial, "image": image}
    names["contract"] = {"resize": resize, "image_size": 32}
    exec(lines, names)
    np.testing.assert_array_equal(names["image"], make_square(image, 32, resize))


def test_there_is_a_program_for_each_runtime() -> None:
    assert list(programs()) == list(PROGRAMS)


def test_the_model_card_has_the_program_for_onnx_runtime() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PROGRAM, re.DOTALL)
    assert program == programs()["ONNX Runtime"].replace("models/export/", "")


@pytest.mark.parametrize("heading", PROGRAMS)
def test_a_program_prints_the_calibrated_probabilities(
    heading: str, model: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    program, contract = programs()[heading], model.contract
    assert "transfer." not in program  # it needs nothing of this project
    exec(compile(program, heading, "exec"), {})
    printed = dict(line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert tuple(printed) == contract.classes
    received = [float(probability) for probability in printed.values()]

    pixels = decode_pixels(Path("image.png").read_bytes(), contract.image_size, contract.channels, contract.conversion)
    (expected,) = open_classifier(model.folder, PROGRAMS[heading]).probabilities(pixels[None])
    assert np.ptp(expected) > 0.1  # or any order of the classes would do
    np.testing.assert_allclose(received, expected, atol=6e-5)  # half a unit of the last digit
