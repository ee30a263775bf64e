"""Tests of transfer/dataset/groups.py."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.dataset.duplicates import Same
from transfer.dataset.groups import duplicates_table, leaks, mark_same, merged_groups


def _marked(same: list[int], groups: list[str] | None = None, splits: list[str] | None = None) -> pd.DataFrame:
    count = len(same)
    labels = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(count)],
            "label": [f"class {i % 2}" for i in range(count)],
            "group": groups or [""] * count,
            "split": splits or [""] * count,
        }
    )
    return mark_same(labels, labels["image"], [], Same(np.array(same), np.array(same)))


def test_an_image_that_could_not_be_decoded_is_like_no_other() -> None:
    labels = _marked([0, 0, 2])[["image", "label", "group", "split"]]
    marked = mark_same(labels, pd.Series(["0.png", "2.png"]), ["1.png"], Same(np.array([0, 1]), np.array([0, 0])))
    assert marked["same"].tolist() == [0, -2, 0]
    assert marked["identical"].tolist() == [0, -2, 1]
    assert marked["place"].tolist() == [0, -1, 1]
    assert mark_same(labels, pd.Series(dtype="str"), labels["image"], Same(np.array([], int), np.array([], int)))[
        "same"
    ].tolist() == [-1, -2, -3]


def test_groups_that_share_an_image_become_one() -> None:
    marked = _marked([0, 1, 2, 0, 4, 5], groups=["a", "a", "", "b", "b", ""])
    assert list(merged_groups(marked)) == ["0.png", "0.png", "", "0.png", "0.png", ""]


def test_a_group_of_one_is_none() -> None:
    assert list(merged_groups(_marked([0, 1, 2], groups=["a", "b", ""]))) == ["", "", ""]


def test_the_test_split_keeps_what_it_is_given() -> None:
    splits = ["train", "test", "validation", "train", "train", "validation", ""]
    removed = leaks(_marked([0, 0, 0, 3, 4, 4, 4], splits=splits))
    assert removed.to_dict("records") == [
        {"image": "0.png", "reason": "a copy of 1.png, which is in the test split"},
        {"image": "2.png", "reason": "a copy of 1.png, which is in the test split"},
        {"image": "4.png", "reason": "a copy of 5.png, which is in the validation split"},
    ]


def test_without_given_splits_nothing_is_left_out() -> None:
    assert leaks(_marked([0, 0, 0])).empty


def test_the_table_of_duplicates_names_them() -> None:
    marked = _marked([0, 1, 0, 1, 4])
    used = marked.assign(split=["train", "test", "train", "test", "train"])
    table = duplicates_table(marked, used[used["image"] != "2.png"])
    assert table.to_dict("list") == {
        "same": ["0.png", "0.png", "1.png", "1.png"],
        "identical": ["0.png", "0.png", "1.png", "1.png"],
        "image": ["0.png", "2.png", "1.png", "3.png"],
        "label": ["class 0", "class 0", "class 1", "class 1"],
        "split": ["train", "", "test", "test"],
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["", "a", "b", "c", "d"])), min_size=1, max_size=30))
def test_images_that_belong_together_have_one_group(rows: list[tuple[int, str]]) -> None:
    first: dict[int, int] = {}
    same = [first.setdefault(number, i) for i, (number, _) in enumerate(rows)]
    merged = merged_groups(_marked(same, groups=[group for _, group in rows]))
    for i, (number, group) in enumerate(rows):
        for j, (other_number, other_group) in enumerate(rows):
            if i != j and (number == other_number or (group and group == other_group)):
                assert merged[i] == merged[j] != ""
