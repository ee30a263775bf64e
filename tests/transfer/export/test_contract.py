"""Tests of transfer/export/contract.py: what is said of an image is what is done with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.transfer.conftest import Exported
from transfer.core.cards import Card
from transfer.core.spec import BLACK, WHITE, Colour, Conversion, Resize, Spec
from transfer.export.contract import Contract, preprocessing
from transfer.export.write import make_contract


@pytest.mark.parametrize(
    ("bit_depth", "background", "words"),
    [
        (None, WHITE, "on white; scale greys of 16 bits to 8 from 8 bits, if no value is above 255, or else keep the"),
        (16, BLACK, "on black; keep the upper 8 of 16 bits; convert"),
        (12, (1, 2, 3), "the colour (1, 2, 3) (red, green, blue); scale greys of 16 bits from 0 to 4095 to 0 to 255"),
    ],
)
def test_the_words_are_those_of_the_conversion(bit_depth: int | None, background: Colour, words: str) -> None:
    assert words in preprocessing(Conversion(bit_depth, background), resizes=True)


@pytest.mark.parametrize(
    ("resize", "inside", "before", "after"),
    [
        ("squash", True, "without keeping the ratio, with Pillow's BILINEAR", "Or leave it to the model"),
        ("crop", True, "image_size x image_size (ImageOps.fit) with Pillow's BILINEAR", "give it squares."),
        ("pad", True, "grey (128 in each channel) to image_size x image_size (ImageOps.pad)", "give it squares."),
        ("pad", False, "pad both sides", "The model takes no other size."),
    ],
)
def test_the_words_say_how_an_image_becomes_square(resize: Resize, inside: bool, before: str, after: str) -> None:
    said = preprocessing(Conversion(resize=resize), inside)
    assert before in said
    assert after in said


def test_an_exported_model_decodes_as_its_dataset_was(exported: Exported) -> None:
    spec = Spec(("a", "b"), "b", "none", 8, 3, {}, 12, (1, 2, 3), "pad")
    contract = make_contract("head", Card(title="t"), spec, 1, {"temperature": 1.0, "threshold": 0.38})
    assert contract.conversion == Conversion(12, (1, 2, 3), "pad")
    assert "(ImageOps.pad)" in contract.preprocessing
    assert (contract.positive, contract.threshold) == ("b", 0.38)
    assert Contract.of_properties(contract.properties(), Path("a.onnx")) == contract


def test_what_was_exported_before_decodes_as_then(exported: Exported) -> None:
    held = replace(exported.contract, bit_depth=12, background=WHITE, resize="pad").properties()
    del held["bit_depth"], held["background"], held["resize"]
    assert Contract.of_properties(held, Path("a.onnx")).conversion == Conversion(16, BLACK)
