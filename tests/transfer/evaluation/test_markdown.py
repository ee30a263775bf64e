"""Tests of transfer/evaluation/markdown.py."""

import pytest

from transfer.evaluation.markdown import counted, markdown_table, plain, short


def test_a_class_name_cannot_break_a_table() -> None:
    assert markdown_table([{"a|b": "c"}]).splitlines() == ["| a&#124;b |", "| --- |", "| c |"]


def test_numbers_have_their_words() -> None:
    assert (counted(1, "image is", "images are"), counted(2000, "image is", "images are")) == (
        "1 image is",
        "2,000 images are",
    )


def test_columns_of_text_are_to_the_left() -> None:
    assert markdown_table([dict.fromkeys("abc", "")], text=("c",)).splitlines()[1] == "| --- | ---: | --- |"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("*a* `b` [c](d) <e> &amp;", r"\*a\* \`b\` \[c\](d) \<e> \&amp;"),
        ("snake_case_7", "snake_case_7"),
        ("_a_ b_", r"\_a\_ b\_"),
        ("two\nlines", "two lines"),
        ("C:\\x", r"C:\\x"),
    ],
)
def test_markup_in_names_is_escaped(name: str, written: str) -> None:
    assert plain(name) == written


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0.3333333333333333", "0.333"),
        ("1.0", "1.0"),
        ("mono-crystalline", "mono-crystalline"),
        ("20230101", "20230101"),
    ],
)
def test_a_long_number_is_shortened(value: str, said: str) -> None:
    assert short(value) == said
