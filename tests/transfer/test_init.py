"""Tests of transfer/init.py: what it says of a folder, and the card that it writes."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import colour_images
from transfer.check import check
from transfer.core.cards import Card, read_folder_card
from transfer.core.errors import UserError
from transfer.core.params import read_params
from transfer.dataset.obtain import obtain
from transfer.init import card_text, init


def _noise(path: Path, width: int, height: int, grey: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(width * 1000 + height)
    shape = (height, width) if grey else (height, width, 3)
    Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(path)


def test_what_a_folder_holds_is_said_and_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, width in enumerate((40, 60, 100)):
        _noise(project / f"mine/ok/{number}.png", width, 30)
        _noise(project / f"mine/scratched/{number}.png", width, 50 + number)
    shutil.copy(project / "mine/ok/2.png", project / "mine/ok/copy.png")
    (project / "mine/ok/broken.png").write_text("no image", encoding="utf-8")
    (project / "mine/empty").mkdir()
    init(Path("mine"))
    assert capsys.readouterr().out.splitlines() == [
        "mine: 8 images of 2 classes",
        "  ok         5",
        "  scratched  3",
        "splits: drawn at random",
        "width: 40 to 100 pixels, median 60",
        "height: 30 to 52 pixels, median 30",
        "channels: 3",
        "unreadable: 1",
        "  ok/broken.png (UnidentifiedImageError: cannot identify image file)",
        "identical files: 1",
        "  ok/2.png = ok/copy.png",
        "without labels, left out: none",
        "left out, without images: empty",
        "assumed: symmetry: mirror, a mirrored image keeps its class; for text, digits, left and right, set it to none",
        "wrote mine/card.yaml: correct it where it is wrong, and add licence and citation",
        "next: dvc exp run -S dataset=mine",
    ]
    assert read_folder_card(Path("mine")) == Card("mine", classes=("ok", "scratched"), symmetry="mirror", channels=3)
    text = Path("mine/card.yaml").read_text(encoding="utf-8")
    assert "# positive: scratched\n" in text
    Path("mine/card.yaml").write_text(text.replace("# positive:", "positive:"), encoding="utf-8")
    check(replace(read_params(Path("params.yaml")), dataset="mine"))
    assert obtain(Path("mine"), Path("data/raw")).card.positive == "scratched"


def test_given_splits_and_grey_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for name in "abc":
            for number in range(count):
                _noise(tmp_path / f"two words/{split}/{name}/{number}.png", 20 + number, 20, grey=True)
    init(tmp_path / "two words")
    said = capsys.readouterr().out
    assert "splits: train 9, validation 3, test 6\n" in said
    assert "channels: 1\n" in said
    assert f"""next: dvc exp run -S 'dataset="{tmp_path}/two words"'\n""" in said
    card = read_folder_card(tmp_path / "two words")
    assert (card.title, card.classes, card.channels) == ("two words", ("a", "b", "c"), 1)
    assert "positive" not in (tmp_path / "two words/card.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("names", [("no", "yes"), ("a: b", "#c"), ("grün", "a\x85b"), ("1", "[2]"), ("x" * 200, "''")])
def test_names_of_classes_stay_what_they_are(names: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(card_text(names[0], names, 3), encoding="utf-8")
    card = read_folder_card(tmp_path)
    assert (card.title, card.classes) == (names[0], names)
    text = card_text(names[0], names, 3).replace("# positive:", "positive:").replace("# group_pattern", "group_pattern")
    (tmp_path / "card.yaml").write_text(text, encoding="utf-8")
    assert read_folder_card(tmp_path).positive == names[1]


@pytest.mark.parametrize("name", ["card.yaml", "card.yml"])
def test_a_card_is_never_overwritten(name: str, project: Path) -> None:
    (project / "pictures" / name).write_text("title: mine\n", encoding="utf-8")
    said = (
        rf"pictures/{name}: there is a card already; edit it, or .* To go on with it: dvc exp run -S dataset=pictures"
    )
    with pytest.raises(UserError, match=said):
        init(Path("pictures"))
    assert (project / "pictures" / name).read_text(encoding="utf-8") == "title: mine\n"
    assert [path.name for path in (project / "pictures").glob("*.y*ml")] == [name]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "nowhere: there is no such folder; give a folder with"),
        ("params.yaml", "params.yaml: is no folder; give a folder with"),
        ("all.zip", "all.zip: is an archive; unpack it .*: dvc exp run -S dataset=all.zip"),
        ("empty", r"empty: no images in it that can be read \(.*\), but no files"),
        ("heic", r"heic: no images in it that can be read \(.*\), but 1 .heic"),
        ("one", "one: two or more classes need a folder of images each; found only red"),
        (
            "flat",
            r"found none. If labels.csv holds the labels, write flat/card.yaml with the lines\n  title: flat\n  table",
        ),
        ("few", r"few: every class needs at least 3 readable images, .*; b has 1. Add images"),
        (".", "contains data/activations, which the pipeline removes"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(place: str, message: str, project: Path) -> None:
    (project / "all.zip").write_bytes(b"")
    (project / "empty").mkdir()
    (project / "heic").mkdir()
    (project / "heic/a.heic").write_bytes(b"")
    colour_images(project / "one", {"red": (200, 9, 9)}, each=3)
    shutil.copytree(project / "one/red", project / "flat")
    (project / "flat/labels.csv").write_text("image,label\n", encoding="utf-8")
    colour_images(project / "few", {"a": (200, 9, 9)}, each=3)
    colour_images(project / "few", {"b": (9, 9, 9)}, each=1)
    with pytest.raises(UserError, match=message):
        init(Path(place))
    assert list(project.rglob("card.yaml")) == []


def test_the_command_to_run_next_reaches_dvc_as_it_is_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dvc.utils.hydra import to_hydra_overrides

    folder = tmp_path / "it's a=b, {c} grün"
    colour_images(folder, {"a": (200, 9, 9), "b": (9, 9, 9)}, each=3)
    init(folder)
    command = capsys.readouterr().out.splitlines()[-1].removeprefix("next: dvc exp run -S ")
    word = subprocess.run(["bash", "-c", f"printf %s {command}"], capture_output=True, text=True, check=True).stdout
    (override,) = to_hydra_overrides([word])
    assert (override.key_or_group, override.value()) == ("dataset", str(folder))
