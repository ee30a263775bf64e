"""Tests of transfer/markdown.py."""

from transfer.markdown import markdown_table


def test_a_class_name_cannot_break_a_table() -> None:
    assert markdown_table(["a|b"], [["c"]]).splitlines()[0] == "| a&#124;b |"
