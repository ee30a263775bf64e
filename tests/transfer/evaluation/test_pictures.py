"""Tests of transfer/evaluation/pictures.py."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer.evaluation.pictures import Mistake, draw_explanation, draw_mistakes, drawable


def test_mistakes_are_drawn_with_their_heat_maps(tmp_path: Path) -> None:
    """Orange speaks for a class, purple against it; a map of zeros leaves the image grey."""
    falls = np.zeros((8, 8), np.float32)
    falls[:, :4], falls[:, 4:] = 1, -1
    pixels = np.full((8, 8, 1), 100, np.uint8)
    colours = {}
    for name, map_ in (("drawn", falls), ("blank", np.zeros_like(falls))):
        path = tmp_path / f"{name}.png"
        draw_mistakes([Mistake("$a/$b.png", pixels, "x$", "$y", 0.9, map_)], "the worst", path)
        with Image.open(path) as picture:
            rgb = np.asarray(picture.convert("RGB"), np.int16)[: picture.size[1] // 2]
        colours[name] = ((rgb[..., 0] - rgb[..., 2]) > 60).sum(), ((rgb[..., 2] - rgb[..., 1]) > 40).sum()
    assert min(colours["drawn"]) > 1000
    assert max(colours["blank"]) == 0
    draw_mistakes([], "none", tmp_path / "none.png")


def test_names_that_the_font_has_no_glyphs_for_are_spelt_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """matplotlib would draw boxes and warn, and a warning is an error in these tests."""
    assert drawable("grün 🦄 雪") == "grün [UNICORN FACE] [U+96EA]"
    pixels, falls = np.full((8, 8, 1), 100, np.uint8), np.zeros((8, 8), np.float32)
    draw_mistakes([Mistake("🦄.png", pixels, "雪", "🦄", 0.9, falls)], "the worst of 雪", tmp_path / "mistakes.png")
    draw_explanation(pixels, falls, "雪.png", "🦄 0.9", tmp_path / "explained.png")
    assert capfd.readouterr().err == ""
