"""Tests of transfer/results/pictures.py."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from transfer.results.pictures import draw_performance, draw_reliability


def test_an_interval_that_leaves_its_score_out_is_drawn(tmp_path: Path) -> None:
    table = pd.DataFrame({"model": ["ann"], "accuracy": [0.5], "accuracy_low": [0.4], "accuracy_high": [0.6]})
    drawn = []
    for low in (0.2, 0.3):
        draw_performance(table.assign(f1=0.5, f1_low=low, f1_high=0.45), 0.4, tmp_path / "p.png")
        drawn.append((tmp_path / "p.png").read_bytes())
    assert drawn[0] != drawn[1]


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
