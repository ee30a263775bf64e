"""Tests of transfer/results/charts.py."""

import re
from itertools import pairwise

import pandas as pd
from markupsafe import Markup

from tests.documents import Element, parse
from transfer.results import charts

TABLE = pd.DataFrame(
    {
        "model": ["ann", "cnn", "head", "finetuned"],
        "accuracy": [0.5, 0.6, 0.7, 0.8],
        "accuracy_low": [0.4, 0.5, 0.6, 0.7],
        "accuracy_high": [0.6, 0.7, 0.8, 0.9],
    }
)
WORDS = ("cnn", "CNN, from scratch", "accuracy")


def _curve() -> Markup:
    return charts.learning_curve([0.5, 0.6, 0.7, 0.8], [0.4, 0.5, 0.5, 0.6], 3, WORDS, (0.0, 1.0))


def _lines(chart: Element, colour: str) -> list[str]:
    """Outlines of what is drawn in a colour."""
    return [
        str(path.attributes["d"])
        for path in chart.all("path")
        if f"stroke: {colour}" in (path.attributes.get("style") or "") and path.attributes["d"]
    ]


def test_a_chart_takes_colours_and_fonts_from_the_page() -> None:
    drawn = [_curve(), charts.intervals(TABLE, "accuracy", "accuracy")]
    for text in drawn:
        styles = [element.attributes.get("style") or "" for element in parse(text).all("*")]
        assert not [style for style in styles if re.search(r"#[0-9a-f]{6}|font(-family)?:(?!-size)", style)]
        assert "<style" not in text
        assert "currentColor" in text
    assert "var(--cnn)" in drawn[0]
    assert all(f"var(--{model})" in drawn[1] for model in charts.DASHES)


def test_a_line_goes_up_where_the_score_does() -> None:
    (validation,) = _lines(parse(_curve()), "var(--cnn)")
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", validation)]
    assert len(points) == 4
    assert all(later[0] > earlier[0] for earlier, later in pairwise(points))
    heights = [-y for _, y in points]
    assert heights[0] < heights[1] == heights[2] < heights[3]


def test_names_inside_charts_are_each_charts_own() -> None:
    found = []
    for score in ("loss", "accuracy"):
        chart = parse(charts.learning_curve([0.5, 0.6], [0.4, 0.5], 1, ("cnn", "CNN", score), None))
        names = [str(element.attributes["id"]) for element in chart.all("*") if "id" in element.attributes]
        used = re.findall(r"url\(#([^)]+)\)", str(chart)) + re.findall(r"'href': '#([^']+)'", str(chart))
        assert used
        assert set(used) <= set(names)
        found += names
    assert len(found) == len(set(found))


def test_a_chart_says_what_it_shows() -> None:
    chart = next(parse(_curve()).all("svg"))
    assert chart.attributes["role"] == "img"
    assert chart.attributes["aria-label"] == (
        "CNN, from scratch: accuracy by epoch, from 0.400 to 0.600 on validation images; epoch 3 was kept"
    )
    assert "width" not in chart.attributes
    assert "epoch" in [text.text for text in chart.all("text")]


def test_the_same_values_give_the_same_bytes() -> None:
    assert _curve() == _curve()


def test_every_model_and_class_has_its_line_and_its_point() -> None:
    table = pd.DataFrame({"class": ["a", "a", "NA", "NA"], "recall": [0, 1, 0, 1], "precision": [1, 0.5, 1, 0.2]})
    text = charts.rates(
        {"ann": table, "head": table}, ("recall", "precision"), {"head": (0.5, 0.75)}, "precision-recall", "words"
    )
    chart = parse(text)
    assert len(_lines(chart, "var(--ann)")) == 2
    assert len([line for line in _lines(chart, "var(--head)") if "C" not in line]) == 2
    assert len([use for use in chart.all("use") if "fill: var(--head)" in (use.attributes.get("style") or "")]) == 1
    assert "NA" not in text


def test_bins_without_images_are_left_out() -> None:
    confidence = [0.5, 0.7, 0.9]
    columns = {"images_before": [0, 2, 2], "images_after": [0, 0, 4]}
    bins = pd.DataFrame({"confidence": confidence, **columns})
    for when in ("before", "after"):
        bins[f"mean_confidence_{when}"], bins[f"accuracy_{when}"] = confidence, [0.0, 1.0, 1.0]
    chart = parse(charts.reliability(bins, "head", "words"))
    filled = [use for use in chart.all("use") if "fill: var(--head)" in (use.attributes.get("style") or "")]
    assert len(filled) == 1
    assert len([line for line in _lines(chart, "var(--muted)") if "C" in line]) == 2
