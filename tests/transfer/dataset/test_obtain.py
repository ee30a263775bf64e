"""Tests of transfer/dataset/obtain.py: any source becomes images, labels.csv and a card."""

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.conftest import ROOT, colour_images
from tests.transfer.dataset.test_tfds import patterns
from transfer.core.errors import UserError
from transfer.core.spec import Conversion
from transfer.dataset.decode import IMAGE_SUFFIXES, decode
from transfer.dataset.obtain import obtain
from transfer.dataset.shards import shards
from transfer.serving.arguments import find_images

COLOURS = {"blue": (40, 60, 200), "red": (200, 60, 40)}
HARD = "title: t\nclasses: ['no', 'yes']\ntable: {file: labels.csv, image: path, label: class, stratify: [kind]}\n"


def _packed(raw: Path) -> dict[str, bytes]:
    """The image files in data/raw."""
    (shard,) = shards(raw / "images")
    with zipfile.ZipFile(shard) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    colour_images(tmp_path / "pictures", COLOURS, each=3, size=8)
    return tmp_path / "pictures"


def test_class_folders_become_labels(pictures: Path, tmp_path: Path) -> None:
    done = obtain(pictures, tmp_path / "raw")
    assert done.card.classes == ("blue", "red")
    assert done.images == 6
    assert done.passed_over == []
    assert dict(zip(done.labels["image"], done.labels["label"], strict=True)) == {
        f"{name}/{i:03}.png": name for name in COLOURS for i in range(3)
    }
    assert _packed(tmp_path / "raw")["red/001.png"] == (pictures / "red/001.png").read_bytes()
    written = pd.read_csv(tmp_path / "raw/labels.csv")
    assert list(written.columns) == ["image", "label", "soft_label", "confidence", "stratum", "group", "split"]


def test_hidden_files_do_not_count_and_other_files_are_named(pictures: Path, tmp_path: Path) -> None:
    (pictures / "card.yaml").write_text(HARD, encoding="utf-8")
    (pictures / "labels.csv").write_text("path,class,kind\nred/000.png,yes,big\n", encoding="utf-8")
    for name in (".hidden.png", "Thumbs.db", "desktop.ini", ".DS_Store", "._000.png"):
        (pictures / "red" / name).write_bytes(b"")
    (pictures / "red/notes.txt").write_bytes(b"")
    (pictures / "blue/photo.heic").write_bytes(b"")
    done = obtain(pictures, tmp_path / "raw")
    assert done.images == 6
    assert done.passed_over == ["blue/photo.heic", "red/notes.txt"]
    heic = "convert them to PNG or JPEG (for HEIC, `pip install pillow-heif` is enough)"
    assert f"pictures of a kind that is not read: 1 .heic; to use them, {heic}" in done.notes


def test_what_is_no_regular_file_is_passed_over_and_named(pictures: Path, tmp_path: Path) -> None:
    (pictures / "red/zero.png").symlink_to("/dev/zero")
    (pictures / "red/link.png").symlink_to("001.png")
    os.mkfifo(pictures / "red/pipe.png")
    done = obtain(pictures, tmp_path / "raw")
    assert done.passed_over == ["red/pipe.png", "red/zero.png"]
    assert _packed(tmp_path / "raw")["red/link.png"] == (pictures / "red/001.png").read_bytes()
    assert done.images == 7


def test_folders_behind_links_count(tmp_path: Path) -> None:
    colour_images(tmp_path / "set/train", COLOURS, each=2, size=8)
    colour_images(tmp_path / "held out", COLOURS, each=1, size=8)
    (tmp_path / "set/test").symlink_to("../held out")
    (tmp_path / "set/train/red/all").symlink_to("..")
    done = obtain(tmp_path / "set", tmp_path / "raw")
    assert done.labels["split"].value_counts().to_dict() == {"train": 4, "test": 2}
    assert done.notes[-1] == "behind links: test. DVC does not look there: after a change, dvc repro -f download"


def test_a_link_that_leads_nowhere_is_an_error(pictures: Path, tmp_path: Path) -> None:
    (pictures / "green").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"pictures/green \(No such file or directory\)\. Fix .* link, or remove it"):
        obtain(pictures, tmp_path / "raw")


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_images_of_every_suffix_are_found_and_decoded(suffix: str, tmp_path: Path) -> None:
    colour_images(tmp_path / "set", COLOURS, each=1, size=8)
    kind = Image.registered_extensions().get(suffix, "JPEG")  # Pillow knows .jfif, and not .jif
    for path in list((tmp_path / "set").glob("*/*.png")):
        image = Image.open(io.BytesIO(path.read_bytes()))
        path.unlink()
        image.convert("1" if suffix == ".pbm" else "RGB").save(path.with_suffix(suffix.upper()), format=kind)
    assert obtain(tmp_path / "set", tmp_path / "raw").images == 2
    assert len(list(find_images([str(tmp_path / "set")]))) == 2
    for content in _packed(tmp_path / "raw").values():
        assert decode(content, 8, 3, Conversion()).pixels.shape == (8, 8, 3)


def test_one_class_folder_is_an_error(tmp_path: Path) -> None:
    colour_images(tmp_path / "pictures", {"blue": (40, 60, 200)}, each=2, size=8)
    with pytest.raises(UserError, match=r"two or more classes need a folder of images each; found only blue"):
        obtain(tmp_path / "pictures", tmp_path / "raw")


def test_a_folder_without_images_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    for name in ("blue", "red"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"pictures: no readable images \(found: no files; supported: .*\.bmp, "):
        obtain(tmp_path / "pictures", tmp_path / "raw")
    for name in ("blue/1.HEIC", "red/2.heic", "red/notes"):
        (tmp_path / "pictures" / name).touch()
    with pytest.raises(
        UserError, match=r"found: 2 \.heic, 1 without a suffix; .*; give a folder with images, or convert"
    ):
        obtain(tmp_path / "pictures", tmp_path / "raw")


def test_class_folders_that_the_card_does_not_name_are_an_error(pictures: Path, tmp_path: Path) -> None:
    (pictures / "card.yaml").write_text("title: t\nclasses: [blue, green]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"card names the classes blue, green, but the .* are blue, red: make"):
        obtain(pictures, tmp_path / "raw")


def test_a_card_may_end_in_yml_but_not_lie_there_twice(pictures: Path, tmp_path: Path) -> None:
    (pictures / "card.yml").write_text("title: t\nclasses: [red, blue]\n", encoding="utf-8")
    done = obtain(pictures, tmp_path / "raw")
    assert (done.card.classes, done.passed_over) == (("red", "blue"), [])
    (pictures / "card.yaml").write_text("title: t\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"pictures: has both card.yaml and card.yml; remove one"):
        obtain(pictures, tmp_path / "other")


def test_a_copy_of_the_splits_and_folders_without_images_are_left_out_and_said(tmp_path: Path) -> None:
    for place in ("set", "set/again"):
        for name in ("train", "test"):
            colour_images(tmp_path / place / name, COLOURS, each=2, size=8)
    (tmp_path / "set/New folder").mkdir()
    done = obtain(tmp_path / "set", tmp_path / "raw")
    assert done.images == len(_packed(tmp_path / "raw")) == 8
    assert done.labels["split"].value_counts().to_dict() == {"train": 4, "test": 4}
    assert done.notes == [
        "left out: again, a copy of what lies beside it",
        "read as splits: test (test), train (train)",
        "left out, without images: New folder",
    ]


def test_a_path_finds_the_group_of_an_image(pictures: Path, tmp_path: Path) -> None:
    (pictures / "card.yaml").write_text("title: t\ngroup_pattern: '/00([01])'\n", encoding="utf-8")
    labels = obtain(pictures, tmp_path / "raw").labels
    assert list(labels["group"]) == ["0", "1", "", "0", "1", ""]
    written = pd.read_csv(tmp_path / "raw/labels.csv", keep_default_na=False)
    assert list(written["group"]) == ["0", "1", "", "0", "1", ""]


def test_folders_of_splits_are_kept_and_a_hidden_test_is_named(tmp_path: Path) -> None:
    for name in ("train", "val"):
        colour_images(tmp_path / "set" / name, COLOURS, each=2, size=8)
    colour_images(tmp_path / "set", {"test": (0, 0, 0)}, each=3, size=8)
    done = obtain(tmp_path / "set", tmp_path / "raw")
    assert done.labels["split"].value_counts().to_dict() == {"train": 4, "validation": 4}
    assert done.card.classes == ("blue", "red")
    assert done.unlabelled == ["test/000.png", "test/001.png", "test/002.png"]
    assert done.images == 8
    assert len(_packed(tmp_path / "raw")) == 8


def _zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent))
    return archive


def test_an_archive_by_its_path(pictures: Path, tmp_path: Path) -> None:
    (pictures / "card.yaml").write_text("title: of the folder\npositive: red\nclasses: [blue, red]\n", encoding="utf-8")
    done = obtain(_zipped(pictures, tmp_path / "pictures.zip"), tmp_path / "raw")
    assert (done.card.title, done.card.positive) == ("pictures.zip", "red")
    assert sorted(done.labels["image"]) == [f"{name}/{i:03}.png" for name in COLOURS for i in range(3)]
    assert _packed(tmp_path / "raw")["red/001.png"] == (pictures / "red/001.png").read_bytes()
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["card.yaml", "images", "labels.csv"]


def _archive_card(archive: Path, folder: Path, more: str = "", size: int | None = None) -> Path:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    archived = f"url: '{archive.as_uri()}', size: {size or archive.stat().st_size}, sha256: {digest}{more}"
    card = folder / "own.yaml"
    card.write_text(f"title: own\nsource: {{archive: {{{archived}}}}}\n", encoding="utf-8")
    return card


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_archive_by_its_card(pictures: Path, tmp_path: Path, cache: Path) -> None:
    card = _archive_card(_zipped(pictures, tmp_path / "pictures.zip"), tmp_path)
    done = obtain(card, tmp_path / "raw")
    assert (done.card.title, done.images) == ("own", 6)


def test_a_folder_inside_of_an_archive(pictures: Path, tmp_path: Path, cache: Path) -> None:
    colour_images(tmp_path / "more/one", COLOURS, each=3, size=8)
    colour_images(tmp_path / "more/two", COLOURS, each=4, size=8)
    archive = _zipped(tmp_path / "more", tmp_path / "more.zip")
    assert obtain(_archive_card(archive, tmp_path, ", folder: more/two"), tmp_path / "raw").images == 8
    with pytest.raises(UserError, match=r"more.zip: there is no folder '../..' in it, but \['more'\]; correct"):
        obtain(_archive_card(archive, tmp_path, ", folder: ../.."), tmp_path / "other")


def test_an_archive_of_another_size_is_refused_before_it_is_unpacked(
    pictures: Path, tmp_path: Path, cache: Path
) -> None:
    card = _archive_card(_zipped(pictures, tmp_path / "pictures.zip"), tmp_path, size=5)
    with pytest.raises(UserError, match=r"the card's size is 5; correct the card or the file"):
        obtain(card, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_a_dataset_of_tensorflow_datasets_keeps_its_splits_and_classes(pictures: Path, tmp_path: Path) -> None:
    features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["blue", "red"])}
    files = {name: [str(path) for path in sorted((pictures / name).iterdir())] for name in ("blue", "red")}
    examples = [{"image": file, "label": name} for name, found in files.items() for file in found[:3]]
    patterns(tmp_path / "set", features, {"train": examples, "test": examples[::-3]})
    card = tmp_path / "own.yaml"
    text = f"title: own\nclasses: [red, blue]\nsource: {{tfds: {{name: patterns, data_dir: '{tmp_path / 'set'}'}}}}\n"
    card.write_text(text, encoding="utf-8")
    done = obtain(card, tmp_path / "raw")
    assert done.card.classes == ("red", "blue")
    assert done.labels.groupby(["split", "label"]).size().to_dict() == {
        ("test", "blue"): 1, ("test", "red"): 1, ("train", "blue"): 3, ("train", "red"): 3,
    }  # fmt: skip
    first = done.labels.iloc[0]
    copied = _packed(tmp_path / "raw")[first["image"]]
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["card.yaml", "images", "labels.csv"]
    assert copied in [Path(file).read_bytes() for file in files[first["label"]]]
    card.write_text(text.replace("red, blue", "red, green"), encoding="utf-8")
    with pytest.raises(UserError, match=r"has the classes \['blue', 'red'\], the card \['green', 'red'\]; correct"):
        obtain(card, tmp_path / "other")


def test_a_package_that_is_not_installed_is_an_error_with_the_command(tmp_path: Path) -> None:
    card = (ROOT / "data/cards/elpv.yaml").read_text(encoding="utf-8").replace("elpv-dataset", "no-such-dataset")
    (tmp_path / "card.yaml").write_text(card, encoding="utf-8")
    with pytest.raises(UserError, match=r"not installed: pip install no-such-dataset==1.0.0.post1"):
        obtain(tmp_path / "card.yaml", tmp_path / "raw")


def test_the_default_dataset_is_what_its_paper_says(tmp_path: Path) -> None:
    done = obtain(ROOT / "data/cards/elpv.yaml", tmp_path / "raw")
    labels = done.labels
    assert (done.images, len(labels), done.passed_over) == (2624, 2624, [])
    assert labels["soft_label"].round(2).value_counts().to_dict() == {0.0: 1508, 0.33: 295, 0.67: 106, 1.0: 715}
    assert labels["label"].value_counts().to_dict() == {"intact": 1803, "defective": 821}
    assert labels["stratum"].nunique() == 8
    assert labels.groupby("label")["confidence"].sum().round(2).to_dict() == {"defective": 785.67, "intact": 1606.33}


def test_a_group_pattern_that_finds_no_or_one_group_is_an_error(pictures: Path, tmp_path: Path) -> None:
    for pattern, message in (
        (
            "patient([0-9]+)",
            r"group_pattern: 'patient\(\[0-9\]\+\)' finds no group in any path, such as 'blue/000.png'",
        ),
        (
            "(png)",
            r"all images are in one group, 'png', which cannot .*; correct the card's group_pattern, or leave it out",
        ),
    ):
        (pictures / "card.yaml").write_text(f"title: t\ngroup_pattern: '{pattern}'\n", encoding="utf-8")
        with pytest.raises(UserError, match=message):
            obtain(pictures, tmp_path / "raw")


def test_groups_splits_and_strata_are_counted(pictures: Path, tmp_path: Path) -> None:
    card = "table: {file: t.csv, image: i, label: c, group: g, split: s, stratify: [k, l]}"
    (pictures / "card.yaml").write_text(f"title: t\n{card}\n", encoding="utf-8")
    rows = ["i,c,g,s,k,l", "blue/000.png,b,1,train,x,u", "blue/001.png,b,1,train,y,u", "blue/002.png,b,2,test,z,u"]
    rows += ["red/000.png,r,3,,x,u", "red/001.png,r,,,x,u", "red/002.png,r,,,x,v"]
    (pictures / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    done = obtain(pictures, tmp_path / "raw")
    assert done.notes == []
    assert done.divisions() == [
        "groups: 3, images in each: 1 to 2; images in none: 2",
        "images given to splits: train 2, test 1; to none: 3",
        "values to stratify by: k 3, l 2",
    ]
    (pictures / "card.yaml").write_text("title: t\ngroup_pattern: '/00([012])'\n", encoding="utf-8")
    assert obtain(pictures, tmp_path / "raw").divisions() == ["groups: 3, images in each: 2; images in none: 0"]


def test_rows_that_spell_their_images_otherwise_get_the_names_of_the_files(pictures: Path, tmp_path: Path) -> None:
    (pictures / "card.yaml").write_text(HARD, encoding="utf-8")
    rows = ["./red/000.png,yes,k", "pictures\\red\\001.png,yes,k", "Blue/000.PNG,no,k", "blue/001,no,k", "x.png,no,k"]
    (pictures / "labels.csv").write_text("\n".join(["path,class,kind", *rows]), encoding="utf-8")
    done = obtain(pictures, tmp_path / "raw")
    written = pd.read_csv(tmp_path / "raw/labels.csv")
    assert list(written["image"]) == ["red/000.png", "red/001.png", "blue/000.png", "blue/001.png", "x.png"]
    assert done.notes == [
        "labels.csv: rows that name their image by another path: 2 ('./red/000.png' is red/000.png)",
        "labels.csv: rows that name their image in other case: 1 ('Blue/000.PNG' is blue/000.png)",
        "labels.csv: rows that name their image without its suffix: 1 ('blue/001' is blue/001.png)",
        "labels.csv: rows without an image: 1 ('x.png'), for quarantine",
        "labels.csv: images without a row: 2 (blue/002.png, red/002.png), for quarantine",
    ]


@pytest.mark.parametrize("beside", ["README.md", "LICENSE", "docs.pdf", ".hidden/notes.txt"])
def test_what_is_no_part_of_a_dataset_may_lie_beside_the_folder_of_an_archive(
    pictures: Path, tmp_path: Path, beside: str
) -> None:
    archive = _zipped(pictures, tmp_path / "pictures.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(beside, "text")
    done = obtain(archive, tmp_path / "raw")
    assert (done.card.classes, done.images) == (("blue", "red"), 6)
    assert done.passed_over == ([] if beside.startswith(".") else [beside])


def test_a_card_beside_the_only_folder_counts(pictures: Path, tmp_path: Path) -> None:
    archive = _zipped(pictures, tmp_path / "pictures.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("card.yaml", b"title: t\nsymmetry: dihedral\n")
    done = obtain(archive, tmp_path / "raw")
    assert (done.card.symmetry, done.card.classes) == ("dihedral", ("blue", "red"))


def test_an_image_beside_the_only_folder_counts(pictures: Path, tmp_path: Path) -> None:
    archive = _zipped(pictures, tmp_path / "pictures.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("a.png", b"x")
    with pytest.raises(UserError, match=r"pictures.zip: two or more classes need .* found only pictures"):
        obtain(archive, tmp_path / "raw")


def test_a_table_beside_the_only_folder_of_an_archive_is_read(pictures: Path, tmp_path: Path) -> None:
    archive = _zipped(pictures, tmp_path / "pictures.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("card.yaml", HARD)
        file.writestr("labels.csv", "path,class,kind\npictures/red/000.png,yes,k\npictures/blue/000.png,no,k\n")
    done = obtain(archive, tmp_path / "raw")
    assert list(done.labels["image"]) == ["pictures/red/000.png", "pictures/blue/000.png"]
    assert done.notes[-1].startswith("labels.csv: images without a row: 4 (")


def test_errors_in_an_archive_name_it_and_what_is_inside_and_no_folder_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    colour_images(Path("only"), {"blue": (40, 60, 200)}, each=2, size=8)
    archive = _zipped(Path("only"), Path("only.zip"))
    for dataset, said in ((archive, "only.zip"), (_archive_card(archive.absolute(), tmp_path), "file:.*/only.zip")):
        with pytest.raises(
            UserError, match=f"^{said}: only: two or more classes need a folder of images each; found only blue"
        ) as raised:
            obtain(dataset, Path("raw"))
        assert "unpacked" not in str(raised.value)
    Path("only/card.yaml").write_text("title: t\ntitel: t\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"only.zip: only/card.yaml: titel: unknown key; did you mean title\?"):
        obtain(_zipped(Path("only"), Path("only.zip")), Path("raw"))


def test_only_what_is_downloaded_may_be_brought_by_other_means(pictures: Path, tmp_path: Path, cache: Path) -> None:
    card = _archive_card(_zipped(pictures, tmp_path / "pictures.zip"), tmp_path, size=5)
    with pytest.raises(UserError, match=r"the card's size is 5; correct the card or the file") as raised:
        obtain(card, tmp_path / "raw")
    assert "other means" not in str(raised.value)
