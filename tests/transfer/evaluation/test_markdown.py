"""Tests of transfer/evaluation/markdown.py."""

import pytest

from transfer.evaluation.markdown import markdown_table, short


def test_a_class_name_cannot_break_a_table() -> None:
    assert markdown_table(["a|b"], [["c"]]).splitlines()[0] == "| a&#124;b |"


@pytest.mark.parametrize(
    ("value", "said"), [("0.3333333333333333", "0.333"), ("1.0", "1.0"), ("mono-crystalline", "mono-crystalline")]
)
def test_a_long_number_is_shortened(value: str, said: str) -> None:
    assert short(value) == said
