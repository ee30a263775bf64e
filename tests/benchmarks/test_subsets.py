"""Tests of benchmarks/subsets.py: subsets that are nested and stratified, and a law that is found again."""

import itertools
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.subsets import (
    PowerLaw,
    conclusion,
    fit_power_law,
    gain_of_twice,
    nested_subsets,
    training_rows,
    write_subset,
)
from transfer.core.errors import UserError
from transfer.dataset.splits import take_stratified

CLASSES = ("intact", "defective")
SIZES = (50, 100, 250, 500, 750, 1000)
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


def _rows(intact: int = 120, defective: int = 80) -> pd.DataFrame:
    """Images of two classes, of two strata each."""
    labels = ["intact"] * intact + ["defective"] * defective
    strata = [f"{label}/{i % 2}" for i, label in enumerate(labels)]
    images = [f"{i:03}.png" for i in range(len(labels))]
    return pd.DataFrame({"image": images, "split": "train", "label": labels, "stratum": strata})


def test_subsets_are_nested_and_have_the_sizes_that_are_asked_for() -> None:
    subsets = nested_subsets(_rows(), CLASSES, FRACTIONS, 1)
    assert [len(rows) for rows in subsets] == [10, 20, 50, 100, 150, 200]
    for smaller, larger in itertools.pairwise(subsets):
        assert set(smaller) < set(larger)
        assert list(smaller) == sorted(smaller)
    np.testing.assert_array_equal(subsets[-1], np.arange(200))


def test_subsets_are_nested_where_strata_do_not_divide_evenly() -> None:
    """Taken from all images each, some subsets would round these strata so that one is no part of the next."""
    labels = [f"{'intact' if i < 9 else 'defective'}/{i}" for i in range(18) for _ in range(7 + i)]
    images = [f"{i:03}.png" for i in range(len(labels))]
    split = [label.split("/")[0] for label in labels]
    rows = pd.DataFrame({"image": images, "split": "train", "label": split, "stratum": labels})
    steps = [step / 20 for step in range(4, 21)]
    for smaller, larger in itertools.pairwise(nested_subsets(rows, CLASSES, steps, 1)):
        assert set(smaller) < set(larger)
    alone = [set(take_stratified(rows, round(step * len(rows)), 1).index) for step in steps]
    assert not all(smaller < larger for smaller, larger in itertools.pairwise(alone))


def test_subsets_keep_the_proportions_of_strata() -> None:
    table = _rows(130, 70)
    for rows, fraction in zip(nested_subsets(table, CLASSES, FRACTIONS, 3), FRACTIONS, strict=True):
        held, all_of = Counter(table["stratum"].iloc[rows]), Counter(table["stratum"])
        for stratum, count in all_of.items():
            assert abs(held[stratum] - fraction * count) <= 2, (fraction, stratum)


def test_subsets_follow_the_hash_order_of_the_seed_and_not_that_of_the_fractions() -> None:
    ascending = nested_subsets(_rows(), CLASSES, [0.25, 0.5], 1)
    descending = nested_subsets(_rows(), CLASSES, [0.5, 0.25], 1)
    for one, other in zip(ascending, reversed(descending), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(ascending[1], take_stratified(_rows(), 100, 1).index)
    assert set(ascending[0]) != set(nested_subsets(_rows(), CLASSES, [0.25], 2)[0])


def test_a_subset_without_a_class_is_an_error() -> None:
    with pytest.raises(UserError, match=r"fraction 0.005: expected images of every class, received none of .* among 1"):
        nested_subsets(_rows(), CLASSES, [0.005], 1)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5])
def test_a_fraction_out_of_range_is_an_error(fraction: float) -> None:
    with pytest.raises(UserError, match=f"expected numbers above 0 and up to 1, received {fraction}"):
        nested_subsets(_rows(), CLASSES, [fraction], 1)


def test_training_rows_are_those_of_the_activations() -> None:
    splits = pd.concat([_rows(2, 0).assign(split="test"), _rows(3, 2), _rows(1, 1).assign(split="validation")])
    found = training_rows(splits, CLASSES, np.array([0, 0, 0, 1, 1]))
    assert list(found["image"]) == ["000.png", "001.png", "002.png", "003.png", "004.png"]
    assert list(found.index) == [0, 1, 2, 3, 4]
    for labels in ([0, 0, 1, 0, 1], [0, 0, 0, 1]):
        with pytest.raises(UserError, match=f"expected the {len(labels)} training images .* received 5 with other lab"):
            training_rows(splits, CLASSES, np.array(labels))


def test_a_subset_is_repeated_to_the_number_of_all_and_validation_stays(tmp_path: Path) -> None:
    for split, images in (("train", 7), ("validation", 3)):
        (tmp_path / "all" / split).mkdir(parents=True)
        np.save(tmp_path / "all" / split / "view-0.npy", np.arange(2.0 * images, dtype=np.float16).reshape(images, 2))
        np.save(tmp_path / "all" / split / "labels.npy", np.arange(images))
    (tmp_path / "all/cached.json").write_text("{}", encoding="utf-8")
    write_subset(tmp_path / "all", np.array([1, 4, 5]), tmp_path / "some/head")
    labels = np.load(tmp_path / "some/head/train/labels.npy")
    assert labels.tolist() == [1, 4, 5, 1, 4, 5, 1]
    view = np.load(tmp_path / "some/head/train/view-0.npy")
    assert view.dtype == np.float16
    assert view[:, 0].tolist() == [2, 8, 10, 2, 8, 10, 2]
    assert np.load(tmp_path / "some/head/validation/labels.npy").tolist() == [0, 1, 2]
    assert (tmp_path / "some/head/cached.json").read_text(encoding="utf-8") == "{}"


def _errors(
    law: PowerLaw, sd: float, repeats: int, seed: int = 0
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    random = np.random.default_rng(seed)
    return np.array([[law.error(size) for size in SIZES]] * repeats) + random.normal(0, sd, (repeats, len(SIZES)))


KNOWN = PowerLaw(0.08, 0.06, 0.5, 1000, 1.0)


def test_the_law_is_what_it_says() -> None:
    assert KNOWN.error(1000) == pytest.approx(0.14)
    assert KNOWN.error(250) == pytest.approx(0.08 + 0.06 * 2)


@pytest.mark.parametrize("law", [KNOWN, PowerLaw(0.0, 0.2, 0.3, 1000, 1.0), PowerLaw(0.15, 0.01, 1.2, 1000, 1.0)])
def test_a_law_without_noise_is_found_again(law: PowerLaw) -> None:
    found = fit_power_law(SIZES, _errors(law, 0.0, 2))
    assert found is not None
    values = (found.floor, found.slope, found.exponent, found.r2)
    np.testing.assert_allclose(values, (law.floor, law.slope, law.exponent, 1.0), atol=2e-3)
    assert found.largest == 1000


def test_missing_errors_take_no_part() -> None:
    errors = _errors(KNOWN, 0.0, 3)
    errors[0, 0] = errors[:, 3] = np.nan
    found = fit_power_law(SIZES, errors)
    assert found is not None
    np.testing.assert_allclose((found.floor, found.slope, found.exponent), (0.08, 0.06, 0.5), atol=2e-3)


def test_no_law_is_fitted_to_as_many_sizes_as_it_has_parameters() -> None:
    errors = _errors(KNOWN, 0.001, 5)
    assert fit_power_law(SIZES[:3], errors[:, :3]) is None
    assert fit_power_law(SIZES[:4], errors[:, :4]) is not None
    errors[:, 3:] = np.nan
    assert fit_power_law(SIZES, errors) is None
    assert conclusion(SIZES[:3], errors[:, :3], None, 300) == (
        "No power law could be fitted to 3 sizes: look at the curve."
    )


def test_errors_that_do_not_fall_are_fitted_poorly() -> None:
    flat = fit_power_law(SIZES, np.full((3, 6), 0.2))
    assert flat is not None
    assert flat.r2 == 0.0
    rising = fit_power_law(SIZES, np.array([np.linspace(0.1, 0.2, 6)] * 2))
    assert rising is not None
    assert rising.r2 < 0.1
    assert rising.error(2000) == pytest.approx(0.15, abs=0.01)


def test_the_interval_of_the_gain_holds_the_true_one_and_narrows_with_more_repeats() -> None:
    true = KNOWN.error(1000) - KNOWN.error(2000)
    widths = []
    for repeats in (4, 40):
        errors = _errors(KNOWN, 0.004, repeats)
        law = fit_power_law(SIZES, errors)
        assert law is not None
        gain = gain_of_twice(SIZES, errors, law)
        assert gain.low < true < gain.high
        assert gain.low < gain.gain < gain.high
        widths.append(gain.high - gain.low)
    assert widths[1] < 0.6 * widths[0]


def test_the_interval_makes_good_that_few_repeats_vary_less_when_drawn_from() -> None:
    """Two repeats, and the same two given twice: their means, drawn, vary as √2 : 1, and made good as √3 : 1."""
    errors = _errors(KNOWN, 0.002, 2)
    law = fit_power_law(SIZES, errors)
    assert law is not None
    widths = [
        gain.high - gain.low
        for gain in (gain_of_twice(SIZES, errors, law), gain_of_twice(SIZES, np.concatenate([errors, errors]), law))
    ]
    assert widths[0] / widths[1] == pytest.approx(math.sqrt(3), abs=0.15)


@pytest.mark.parametrize(
    ("law", "sd", "images", "verdict"),
    [
        (KNOWN, 0.001, 5000, r": more labels would help\.$"),
        (
            KNOWN,
            0.001,
            300,
            r": more labels would help\. On 300 validation images .* standard error of 2\.0 points, so",
        ),
        (PowerLaw(0.15, 0.001, 1.0, 1000, 1.0), 0.0001, 300, r": more labels of this kind would hardly help\. On 300"),
        (PowerLaw(0.13, 0.012, 0.8, 1000, 1.0), 0.01, 300, r": more labels may help, but these repeats do not tell"),
        (PowerLaw(0.2, 0.0, 1.0, 1000, 1.0), 0.02, 300, r", but it fits poorly: .* cannot be said from it\.$"),
    ],
)
def test_the_conclusion_follows_from_the_law(law: PowerLaw, sd: float, images: int, verdict: str) -> None:
    errors = _errors(law, sd, 5)
    said = conclusion(SIZES, errors, fit_power_law(SIZES, errors), images)
    assert re.search(verdict, said), said


def test_the_conclusion_names_the_figures() -> None:
    errors = _errors(KNOWN, 0.0, 2)
    said = conclusion(SIZES, errors, fit_power_law(SIZES, errors), 5000)
    assert said == (
        "A power law through the errors (0.080 + 0.060 (n / 1,000)^-0.50, R² 1.00) expects 12.2% with twice the 1,000 "
        "images, which is 1.8 points less than now (95 % over the repeats: 1.8 to 1.8): more labels would help."
    )
