"""Tests of transfer/pictures.py."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from transfer.pictures import Mistake, draw_mistakes, draw_reliability


def test_a_diagram_for_each_model_the_same_bytes_each_time(tmp_path: Path) -> None:
    table = pd.DataFrame({"confidence": [0.5, 0.9]})
    for name, images in (("before", [0, 4]), ("after", [1, 3])):
        table[f"images_{name}"] = images
        table[f"mean_confidence_{name}"] = [0.5, 0.9]
        table[f"accuracy_{name}"] = [np.nan if images[0] == 0 else 1.0, 0.75]
    for path in ("one.png", "two.png"):
        draw_reliability({"ann": table, "cnn": table}, tmp_path / "plots" / path)
    written = [(tmp_path / "plots" / path).read_bytes() for path in ("one.png", "two.png")]
    assert written[0] == written[1]
    with Image.open(tmp_path / "plots/one.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10  # not blank


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
