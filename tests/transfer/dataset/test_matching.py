"""Tests of transfer/dataset/matching.py: rows name their images in other ways than files are called."""

import re
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from transfer.core.errors import UserError
from transfer.dataset.matching import match_images

NFC, NFD = (unicodedata.normalize(form, "größe/ü.png") for form in ("NFC", "NFD"))


def _match(folder: Path, names: list[str], images: list[str]) -> tuple[list[str], list[str]]:
    rows = pd.DataFrame({"image": names}, range(2, len(names) + 2))
    labels, lines = match_images(rows, images, folder, folder / "t.csv")
    return list(labels["image"]), lines


@pytest.mark.parametrize(
    ("name", "file", "way"),
    [
        ("./red/0.png", "red/0.png", "by another path"),
        ("red//0.png ", "red/0.png", "by another path"),
        ("red\\0.png", "red/0.png", "by another path"),
        ("{folder}/red/0.png", "red/0.png", "by another path"),
        ("pics/red/0.png", "red/0.png", "by another path"),
        ("set/pics/red/0.png", "red/0.png", "by another path"),
        ("../pics/red/0.png", "red/0.png", "by another path"),
        (NFD, NFC, "in another Unicode form"),
        (NFC, NFD, "in another Unicode form"),
        ("Red/0.PNG", "red/0.png", "in other case"),
        ("red/0", "red/0.png", "without its suffix"),
        ("red/0.1", "red/0.1.png", "without its suffix"),
        (".\\Red\\0", "red/0.png", "without its suffix and in other case"),
    ],
)
def test_a_row_finds_its_image_however_it_is_spelt(tmp_path: Path, name: str, file: str, way: str) -> None:
    folder = tmp_path / "set/pics"
    name = name.format(folder=folder)
    assert _match(folder, [name, "1.png"], ["1.png", file]) == (
        [file, "1.png"],
        [f"t.csv: rows that name their image {way}: 1 ({name!r} is {file})"],
    )


def test_rows_that_name_their_images_exactly_say_nothing(tmp_path: Path) -> None:
    names = ["a\\b.png", "a.png", "A.png", " .png"]
    assert _match(tmp_path, names, sorted(names)) == (names, [])


@pytest.mark.parametrize(
    "name", ["/elsewhere/pics/0.png", "other/0.png", "../0.png", "0.jpg", "", ".", "/", "C:\\pics\\0.png"]
)
def test_what_cannot_be_matched_safely_is_left_and_said(tmp_path: Path, name: str) -> None:
    assert _match(tmp_path / "pics", ["1.png", name], ["0.png", "1.png"]) == (
        ["1.png", name],
        [
            f"t.csv: rows without an image: 1 ({name!r}), for quarantine",
            "t.csv: images without a row: 1 (0.png), for quarantine",
        ],
    )


def test_an_image_that_a_row_names_exactly_is_no_others(tmp_path: Path) -> None:
    names, lines = _match(tmp_path, ["a.png", "A.png", "a"], ["a.png", "b.png"])
    assert names == ["a.png", "A.png", "a"]
    assert lines[0] == "t.csv: rows without an image: 2 ('A.png', 'a'), for quarantine"


@pytest.mark.parametrize(
    ("names", "images", "message"),
    [
        (["0", "1.png"], ["0.jpg", "0.png", "1.png"], "line 2: '0' may mean 0.jpg or 0.png; write the whole path"),
        (["A.png", "1.png"], ["a.PNG", "a.png", "1.png"], "line 2: 'A.png' may mean a.PNG or a.png; write the whole"),
        (["a.png", "./a.png"], ["a.png"], "lines 2 and 3 both label a.png ('a.png', './a.png'); leave one of them"),
        (["A.png", "a.PNG"], ["a.png"], "lines 2 and 3 both label a.png ('A.png', 'a.PNG'); leave one of them"),
    ],
)
def test_a_match_that_is_not_the_only_one_is_an_error(
    tmp_path: Path, names: list[str], images: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(f"t.csv: {message}")):
        _match(tmp_path, names, images)


def test_no_match_at_all_is_an_error_with_the_first_of_both(tmp_path: Path) -> None:
    message = r"t.csv: no row matches an image: the first row says 'x/0.tif', the first image is red/0.png; write paths"
    with pytest.raises(UserError, match=message):
        _match(tmp_path, ["x/0.tif", "x/1.tif"], ["red/0.png", "red/1.png"])


def test_paths_through_a_link_and_beside_a_table_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "pics/tables").mkdir(parents=True)
    (tmp_path / "link").symlink_to("pics")
    table = tmp_path / "link/tables/t.csv"
    names = [str(tmp_path / "pics/0.png"), str(tmp_path / "link/1.png"), "../2.png"]
    labels, _ = match_images(pd.DataFrame({"image": names}), ["0.png", "1.png", "2.png"], tmp_path / "link", table)
    assert list(labels["image"]) == ["0.png", "1.png", "2.png"]
