"""Tests of transfer/splits.py."""

from random import Random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.errors import UserError
from transfer.splits import split, take_stratified

CLASSES = ("no", "yes")


def _labels(strata: dict[tuple[str, str], int]) -> pd.DataFrame:
    """A table with as many images of each (class, stratum) as given."""
    rows = [(label, f"{label}/{stratum}") for (label, stratum), count in strata.items() for _ in range(count)]
    table = pd.DataFrame(rows, columns=["label", "stratum"])
    return table.assign(image=[f"{i:05}.png" for i in range(len(table))])


STRATA = st.fixed_dictionaries({(label, kind): st.integers(10, 60) for label in CLASSES for kind in ("mono", "poly")})


@settings(max_examples=60, deadline=None)
@given(STRATA, st.sampled_from([0.1, 0.25, 0.4]), st.sampled_from([0.1, 0.2]), st.integers(0, 100))
def test_every_image_is_in_one_split_in_proportion(
    strata: dict[tuple[str, str], int], test: float, validation: float, seed: int
) -> None:
    labels = _labels(strata)
    splits = split(labels, CLASSES, test, validation, seed)
    assert set(splits.index) == set(labels.index)
    counts = splits.value_counts()
    assert counts["test"] == round(test * len(labels))
    assert counts["validation"] == round(validation * len(labels))
    for stratum, rows in labels.groupby("stratum"):
        in_test = (splits[rows.index] == "test").sum()
        assert abs(in_test - test * len(rows)) <= 1.0 + 0.5 * test, (stratum, in_test, len(rows))


@settings(max_examples=20, deadline=None)
@given(STRATA, st.integers(0, 100), st.randoms(use_true_random=False))
def test_the_order_of_the_table_does_not_matter(strata: dict[tuple[str, str], int], seed: int, random: Random) -> None:
    labels = _labels(strata)
    order = list(range(len(labels)))
    random.shuffle(order)
    shuffled = labels.iloc[order]
    one = split(labels, CLASSES, 0.25, 0.1, seed)
    other = split(shuffled, CLASSES, 0.25, 0.1, seed)
    assert one.to_dict() == other.to_dict()


def test_another_seed_is_another_split() -> None:
    labels = _labels({("no", "a"): 50, ("yes", "a"): 50})
    assert not split(labels, CLASSES, 0.25, 0.1, 1).equals(split(labels, CLASSES, 0.25, 0.1, 2))


def test_a_known_split_stays_what_it_is() -> None:
    """The same on every machine: this is what scikit-learn drew when the test was written."""
    splits = split(_labels({("no", "a"): 8, ("yes", "a"): 8}), CLASSES, 0.25, 0.25, 1)
    assert " ".join(name[:2] for name in splits) == KNOWN


KNOWN = "tr tr tr te va te tr va te tr va tr va te tr tr"


def test_a_rare_stratum_is_no_obstacle() -> None:
    labels = _labels({("no", "a"): 30, ("yes", "a"): 30, ("yes", "b"): 1, ("no", "b"): 1})
    assert split(labels, CLASSES, 0.25, 0.25, 1).value_counts()["test"] == round(62 * 0.25)


def test_a_class_of_two_images_is_named() -> None:
    labels = _labels({("no", "a"): 20, ("yes", "a"): 2})
    with pytest.raises(UserError, match=r"class 'yes': expected at least 3 usable images.*received 2"):
        split(labels, CLASSES, 0.25, 0.25, 1)


def test_one_class_only_is_an_error() -> None:
    with pytest.raises(UserError, match=r"class 'yes': .* received 0"):
        split(_labels({("no", "a"): 20}), CLASSES, 0.25, 0.25, 1)


def test_a_split_without_room_for_every_class_is_an_error() -> None:
    labels = _labels({("no", "a"): 10, ("yes", "a"): 10})
    with pytest.raises(UserError, match=r"split validation: expected room for each of the 2 classes, received 1 of 20"):
        split(labels, CLASSES, 0.25, 0.05, 1)


def test_a_split_that_leaves_a_class_empty_is_an_error() -> None:
    labels = _labels({("no", "a"): 60, ("yes", "a"): 3})
    with pytest.raises(UserError, match=r"split \w+: expected images of every class, received none of \['yes'\]"):
        split(labels, CLASSES, 0.05, 0.05, 1)


def test_a_part_keeps_proportions_and_order() -> None:
    labels = _labels({("no", "a"): 60, ("yes", "a"): 30})
    part = take_stratified(labels, 30, 1)
    assert part["label"].value_counts().to_dict() == {"no": 20, "yes": 10}
    assert list(part["image"]) == sorted(part["image"])
    assert take_stratified(labels, 500, 1) is labels
