"""Tests of transfer/init.py: what it says of a folder, and the card that it writes."""

import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

from tests.conftest import colour_images
from transfer.check import check
from transfer.core.cards import ASSUMED, Card, read_folder_card
from transfer.core.errors import UserError
from transfer.core.params import read_params
from transfer.dataset.obtain import obtain
from transfer.dataset.splits import split as divide
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
        ASSUMED,
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
                _noise(tmp_path / f"two words/{split}/{name}/{number}.png", 20 + number, 20 + count, grey=True)
    init(tmp_path / "two words")
    said = capsys.readouterr().out
    assert "splits: train 9, validation 3, test 6\n" in said
    assert "channels: 1\n" in said
    assert f"""next: dvc exp run -S 'dataset="{tmp_path}/two words"'\n""" in said
    card = read_folder_card(tmp_path / "two words")
    assert (card.title, card.classes, card.channels) == ("two words", ("a", "b", "c"), 1)
    assert "positive" not in (tmp_path / "two words/card.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "names", [("no", "yes"), ("a: b", "#c"), ("grün", "a\x85b"), ("1", "[2]"), ("x" * 200, "''"), ("a\nb 😀", "c\nd")]
)
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
        ("params.yaml", "params.yaml: is not a folder; give a folder with"),
        ("all.zip", "all.zip: is an archive; unpack it .*: dvc exp run -S dataset=all.zip"),
        ("empty", r"empty: no readable images \(found: no files; "),
        ("heic", r"heic: no readable images \(found: 1 .heic; "),
        ("one", "one: two or more classes need a folder of images each; found only red"),
        (
            "flat",
            r"found none. If labels.csv holds the labels, write flat/card.yaml with .*\n  title: .flat.\n  table",
        ),
        (
            "few",
            r"few: every class needs a readable image in each of .*: b has 1 and needs 3. Add images",
        ),
        ("one/red", "found none: give the folder that contains the class folders$"),
        (".", "contains data/activations, which the pipeline overwrites"),
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


@pytest.mark.parametrize(
    "name", ["2024", "2024_01", "1e5", "true", "null", "on", "No", "12:30", "mine", "all.2024", "a b"]
)
def test_a_folder_keeps_its_name_in_params(name: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the file that DVC writes from the command, as PyYAML reads it."""
    from dvc.utils.hydra import apply_overrides

    colour_images(project / name, {"a": (200, 9, 9), "b": (9, 9, 9)}, each=3)
    init(Path(name))
    command = capsys.readouterr().out.splitlines()[-1].removeprefix("next: ")
    apply_overrides("params.yaml", [shlex.split(command)[-1]])
    dataset = read_params(Path("params.yaml")).dataset
    assert dataset.removeprefix("./") == name
    assert (dataset == name) == (name in ("mine", "all.2024"))


def test_elsewhere_than_beside_params_paths_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    colour_images(tmp_path / "mine", {"a": (200, 9, 9), "b": (9, 9, 9)}, each=3)
    init(Path("mine"))
    wrote, command = capsys.readouterr().out.splitlines()[-2:]
    assert wrote.startswith(f"wrote {tmp_path}/mine/card.yaml: ")
    assert command == f"next: dvc exp run -S dataset={tmp_path}/mine"


def test_what_is_not_trained_on_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images in no class folder, pictures of other kinds; a copy of all classes is not without labels."""
    colour_images(project / "mine", {"a": (200, 9, 9), "b": (9, 9, 9)}, each=3)
    shutil.copytree(project / "mine", project / "mine/copy")
    _noise(project / "mine/x.png", 20, 20)
    _noise(project / "mine/y.png", 20, 21)
    (project / "mine/a/x.heic").write_bytes(b"")
    init(Path("mine"))
    said = capsys.readouterr().out
    assert "without labels, left out: none\n" in said
    assert "\nbeside the class folders, in no class: x.png and y.png. They count as bad images: move them" in said
    assert (
        "\npictures of a kind that is not read: 1 .heic; to use them, convert them to PNG or JPEG (for HEIC, `pip "
        in said
    )


def test_sizes_are_those_of_the_upright_image(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for label in "ab":
        for number in range(3):
            _noise(project / f"mine/{label}/{number}.jpg", 60 + number, 30)
            with Image.open(project / f"mine/{label}/{number}.jpg") as image:
                image.save(project / f"mine/{label}/{number}.{'jpg' if label == 'a' else 'png'}", exif=exif)
        _noise(project / f"mine/{label}/upright.png", 31, 50)
    for path in (project / "mine/b").glob("*.jpg"):
        path.unlink()
    init(Path("mine"))
    said = capsys.readouterr().out
    assert "width: 30 to 31 pixels, median 30\nheight: 50 to 62 pixels, median 60.5\n" in said


def test_identical_files_of_different_classes_are_a_warning(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        _noise(project / f"mine/a/{number}.png", 20 + number, 20)
        _noise(project / f"mine/b/{number}.png", 20 + number, 21)
    shutil.copy(project / "mine/a/0.png", project / "mine/b/same.png")
    init(Path("mine"))
    warning = "warning: identical files in different classes, remove the wrong ones: 1\n  a/0.png = b/same.png\n"
    assert f"identical files: none\n{warning}" in capsys.readouterr().out


def test_copies_of_an_image_are_one_for_the_splits(project: Path) -> None:
    for number in range(3):
        _noise(project / f"mine/a/{number}.png", 20 + number, 20)
        _noise(project / f"mine/b/{number}.png", 20 + number // 2, 21)
    with pytest.raises(UserError, match=r"every class needs a readable image .*: b has 2 and needs 3"):
        init(Path("mine"))
    _noise(project / "mine/b/3.png", 40, 21)
    init(Path("mine"))


def test_a_copy_in_two_given_splits_counts_in_the_later_one(project: Path) -> None:
    for split, width in (("train", 20), ("val", 30), ("test", 30)):
        _noise(project / f"mine/{split}/a/0.png", width + len(split), 20)
        _noise(project / f"mine/{split}/b/0.png", width, 21)
    with pytest.raises(UserError, match=r"every class needs .*: validation has 0 of b and needs 1. Add"):
        init(Path("mine"))


def test_names_cannot_steer_the_terminal(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colour_images(project / "mine", {"a\x1b[2J": (200, 9, 9), "b": (9, 9, 9)}, each=3)
    init(Path("mine"))
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert r"a\x1b[2J" in said
    assert read_folder_card(Path("mine")).classes == ("a\x1b[2J", "b")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": (3, 3), "test": (1, 0)}, r"\(validation drawn from train\): test has 0 of b and needs 1. Add"),
        ({"train": (3, 1), "test": (1, 2)}, r"\(validation drawn from train\): train has 1 of b and needs 2. Add"),
        (
            {"train": (3, 3), "val": (0, 1), "test": (1, 1)},
            "in each of .*: validation has 0 of a and needs 1. Add",
        ),
        ({"train": (2, 2), "test": (1, 1)}, None),
        ({"train": (1, 1), "val": (1, 1), "test": (1, 1)}, None),
    ],
)
def test_given_splits_need_every_class(counts: dict[str, tuple[int, int]], message: str | None, project: Path) -> None:
    """As the stage that divides the images sees it, with the same images."""
    for split, each in counts.items():
        for label, count in zip("ab", each, strict=True):
            for number in range(count):
                _noise(project / f"mine/{split}/{label}/{number}.png", 20 + number, 20 + len(split))
    _noise(project / "mine/test/a/more.png", 30, 20)
    rows = [(path.parts[-3], path.parts[-2], str(path)) for path in sorted((project / "mine").rglob("*.png"))]
    words = {"train": "train", "val": "validation", "test": "test"}
    labels = pd.DataFrame(
        [(image, label, label, "", words[split]) for split, label, image in rows],
        columns=["image", "label", "stratum", "group", "split"],
    )
    if message is None:
        init(Path("mine"))
        divide(labels, ("a", "b"), 0.2, 0.2, 1)
    else:
        with pytest.raises(UserError, match=message):
            init(Path("mine"))
        with pytest.raises(UserError, match="expected images of every class, received none of"):
            divide(labels, ("a", "b"), 0.2, 0.2, 1)
    assert Path("mine/card.yaml").exists() == (message is None)
