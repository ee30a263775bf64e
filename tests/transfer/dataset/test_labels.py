"""Tests of transfer/dataset/labels.py."""

from hypothesis import given
from hypothesis import strategies as st

from transfer.dataset.labels import join_stratum, split_stratum


@given(st.text(min_size=1), st.lists(st.text(st.sampled_from("a1 /%25F"), max_size=6), max_size=3))
def test_a_stratum_gives_back_its_values(label: str, values: list[str]) -> None:
    assert split_stratum(join_stratum(label, *values), label) == values


def test_plain_values_are_written_as_they_are() -> None:
    assert join_stratum("defective", "1.0", "mono") == "defective/1.0/mono"
    assert split_stratum("and/or/N%2FA", "and/or") == ["N/A"]
