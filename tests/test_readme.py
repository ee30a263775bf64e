"""README.md and the documentation say what the files say."""

import re

import pytest

from benchmarks.readme import BLOCKS, accelerator_markdown, comments_of, pages, render, type_words
from tests.declared import ROOT
from transfer.core.params import Count, Rate, Units, Views

PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in pages(ROOT)}


@pytest.mark.parametrize("page", PAGES)
def test_the_figures_of_a_page_are_those_of_the_files(page: str) -> None:
    assert render(PAGES[page], ROOT) == PAGES[page]


def test_every_block_stands_in_a_page() -> None:
    used = {name for text in PAGES.values() for name in re.findall(r"<!-- ([a-z-]+) -->\n", text)}
    assert used - {"end"} == set(BLOCKS)


def test_a_figure_that_differs_is_found() -> None:
    text = PAGES["README.md"]
    changed = re.sub(r"\*\*0\.\d+\*\*", "**0.999**", text, count=1)
    assert changed != text
    assert render(changed, ROOT) == text


def test_the_front_door_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150


def test_a_cut_that_was_not_trained_on_a_device_is_not_measured() -> None:
    rates = {"top": {"images_per_second": 9000.4}, "block5": {"images_per_second": 1000.0, "first_epoch_s": 16.4}}
    table = accelerator_markdown({"H200, jax": {"training": rates, "frozen_pass_images_per_second": 3000.0}})
    assert table.splitlines()[2] == "| H200, jax | 3,000 | 9,000 | 1,000 | not measured | 16 s |"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Count | None, "integer ≥ 1, or null"),
        (Rate, "number > 0, ≤ 1"),
        (Units, "list of: integer ≥ 1"),
        (Views, "all, 1, 2, 4, 8"),
    ],
)
def test_types_of_params_are_said_in_words(kind: object, words: str) -> None:
    assert type_words(kind) == words


def test_a_comment_belongs_to_the_key_before_it_or_below_it() -> None:
    text = "# Of the file.\na: 1  # one\nb:  # two\n  # three\n  c:\n  - x\n  d: 2\ne: 3\n"
    assert comments_of(text) == {"a": "one", "b": "two", "b.c": "three"}
