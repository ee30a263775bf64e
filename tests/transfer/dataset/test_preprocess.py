"""Tests of transfer/dataset/preprocess.py: what is bad never ends a run and never vanishes."""

import os
import pickle
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import colour_images
from transfer.core.cards import ASSUMED, Symmetry
from transfer.core.errors import UserError
from transfer.core.params import Duplicates, Split
from transfer.dataset import shards as image_shards
from transfer.dataset.obtain import obtain
from transfer.dataset.preprocess import Preprocessed, Settings, check_left_out, preprocess
from transfer.dataset.scan import counts
from transfer.dataset.shards import write_shards
from transfer.records import tfrecords as records
from transfer.records.tfrecords import read_records
from transfer.workers.runners import LocalRunner
from transfer.workers.work import Item, Result, Runner, Work

COLOURS = {"blue": (40, 60, 200), "red": (200, 60, 40)}
SAME = Duplicates(4, 0.999, 0.05)
HALF = Split(test=0.25, validation=0.25)


def _run(
    folder: Path,
    split: Split = HALF,
    max_images: int | None = None,
    runner: Runner | None = None,
    symmetry: Symmetry = "auto",
) -> Preprocessed:
    folders = {name: folder / "records" / name for name in ("train", "validation", "test")}
    settings = Settings(split, 16, max_images, 1, SAME, symmetry)
    return preprocess(folder / "raw", folders, settings, runner or LocalRunner(), folder / "quarantine.csv")


@contextmanager
def _images(folder: Path) -> Iterator[Path]:
    """The images of data/raw as files, which go back when the block ends."""
    shards = folder / "raw/images"
    with ZipFile(shards / "00000.zip") as shard:
        shard.extractall(folder / "files")
    yield folder / "files"
    shutil.rmtree(shards)
    files = sorted(path.relative_to(folder / "files") for path in (folder / "files").rglob("*") if path.is_file())
    write_shards(folder / "files", [path.as_posix() for path in files], shards)
    shutil.rmtree(folder / "files")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """data/raw of 32 images of two colours."""
    colour_images(tmp_path / "pictures", COLOURS, each=16, size=20)
    obtain(tmp_path / "pictures", tmp_path / "raw")
    return tmp_path


def _spoil(folder: Path) -> None:
    with _images(folder) as images:
        truncated = images / "blue/001.png"
        truncated.write_bytes(truncated.read_bytes()[:200])
        (images / "red/002.png").write_bytes(b"")
        (images / "red/003.png").write_text("no image", encoding="utf-8")
        (images / "blue/004.png").unlink()
        Image.new("RGB", (20, 20)).save(images / "blue/unlabelled.png")


def test_every_image_is_in_one_split_or_in_quarantine(raw: Path) -> None:
    _spoil(raw)
    done = _run(raw)
    quarantined = dict(done.quarantine.itertuples(index=False, name=None))
    assert set(quarantined) == {
        "blue/001.png", "red/002.png", "red/003.png", "blue/004.png", "blue/unlabelled.png",
    }  # fmt: skip
    assert quarantined["blue/004.png"] == "labelled, but missing"
    assert quarantined["blue/unlabelled.png"] == "it has no label"
    assert "truncated" in quarantined["blue/001.png"]
    assert "cannot identify" in quarantined["red/003.png"]
    everything = {f"{name}/{i:03}.png" for name in COLOURS for i in range(16)} | {"blue/unlabelled.png"}
    assert set(done.splits["image"]) | set(quarantined) == everything
    assert len(done.splits) + len(quarantined) == len(everything)
    figures = done.figures()
    assert figures["images"] == 28
    assert figures["quarantined"] == 5
    assert sum(done.spec.counts.values()) == 28


def test_records_hold_what_splits_say(raw: Path) -> None:
    done = _run(raw)
    for name, rows in done.splits.groupby("split"):
        batches = list(read_records(raw / "records" / str(name), done.spec, 5))
        images = [image for batch in batches for image in batch.images]
        assert images == sorted(rows["image"])
        for batch in batches:
            for image, pixels, label in zip(batch.images, batch.pixels, batch.labels, strict=True):
                assert done.spec.classes[label] == image.split("/")[0]
                blue, red = pixels[..., 2].mean(), pixels[..., 0].mean()
                assert (blue > red) == image.startswith("blue")


@pytest.mark.parametrize(("wanted", "resolved"), [("auto", "mirror"), ("none", "none"), ("dihedral", "dihedral")])
def test_the_records_have_a_symmetry_and_say_where_it_is_assumed(raw: Path, wanted: Symmetry, resolved: str) -> None:
    done = _run(raw, symmetry=wanted)
    assert done.spec.symmetry == resolved
    assert (ASSUMED in done.summary(Path("d.csv"))) == (wanted == "auto")


def test_images_of_any_size_and_mode_are_used_and_nothing_is_written_beside_them(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    colour_images(pictures, COLOURS, each=8, size=8)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    noise.resize((8000, 6000), Image.Resampling.NEAREST).save(pictures / "red/large.jpg")
    noise.convert("CMYK").save(pictures / "red/print.jpg")
    noise.rotate(90).quantize(64).save(pictures / "blue/palette.gif")
    before = {path: path.stat().st_mtime_ns for path in pictures.rglob("*")}
    for path in before:
        path.chmod(0o555)
    obtain(pictures, tmp_path / "raw")
    done = _run(tmp_path)
    assert len(done.splits) == 19
    assert "converted to RGB: 1 CMYK, 1 with a palette" in done.summary(Path("d.csv"))
    assert {path: path.stat().st_mtime_ns for path in pictures.rglob("*")} == before


def test_a_bad_image_moves_no_other_to_another_split(raw: Path) -> None:
    before = _run(raw).splits.set_index("image")["split"]
    with _images(raw) as images:
        (images / "red/002.png").write_bytes(b"")
    after = _run(raw).splits.set_index("image")["split"]
    pd.testing.assert_series_equal(after, before.drop("red/002.png"))


def test_a_part_of_the_images_can_be_taken(raw: Path) -> None:
    done = _run(raw, max_images=16)
    assert len(done.splits) == 16
    assert done.splits["label"].value_counts().to_dict() == {"blue": 8, "red": 8}


def test_a_class_of_which_a_split_keeps_nothing_is_an_error(raw: Path) -> None:
    with _images(raw) as images:
        for i in range(16):
            (images / f"red/{i:03}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"split train: expected images of every class, received none of \['red"):
        _run(raw)


def test_more_bad_images_than_allowed_are_an_error_with_the_first_of_them(raw: Path) -> None:
    _spoil(raw)
    done = _run(raw)
    check_left_out(done, 0.2, 0.0)
    with pytest.raises(UserError) as error:
        check_left_out(done, 0.1, 0.0)
    said = str(error.value)
    assert said.startswith(
        "5 of 33 images could not be used (15.2%), and params.yaml allows 10.0% (max_bad_fraction): fix"
    )
    assert "The first is blue/001.png: OSError" in said
    assert "class 'blue': 2 unusable images; class 'red': 2 unusable images; without a label: 1 unusable image" in said


def test_grey_images_stay_one_channel(raw: Path) -> None:
    card = raw / "raw/card.yaml"
    card.write_text(card.read_text(encoding="utf-8").replace("channels: 3", "channels: 1"), encoding="utf-8")
    done = _run(raw)
    batch = next(read_records(raw / "records/train", done.spec, 2))
    assert batch.pixels.shape == (2, 16, 16, 1)
    assert batch.pixels.dtype == np.uint8


def _copy(raw: Path, image: str, name: str, label: str = "") -> None:
    """Add a copy of an image to data/raw under another name, with the label of its folder or another."""
    with _images(raw) as images:
        (images / name).write_bytes((images / image).read_bytes())
    table = raw / "raw/labels.csv"
    label = label or name.split("/", maxsplit=1)[0]
    table.write_text(table.read_text(encoding="utf-8") + f"{name},{label},,1.0,{label},,\n", encoding="utf-8")


def test_copies_never_straddle_splits_and_are_counted(raw: Path) -> None:
    for i in range(12):
        _copy(raw, "blue/001.png", f"blue/copy{i}.png")
    _copy(raw, "red/004.png", "red/saved.bmp")
    with _images(raw) as images:
        pixels = np.asarray(Image.open(images / "red/004.png"))
        Image.fromarray(pixels).save(images / "red/saved.bmp")  # other bytes, the same pixels
    done = _run(raw)
    split_of = done.splits.set_index("image")["split"]
    assert len({split_of["blue/001.png"], *(split_of[f"blue/copy{i}.png"] for i in range(12))}) == 1
    assert split_of["red/004.png"] == split_of["red/saved.bmp"]
    assert done.figures()["duplicates"] == {
        "identical": 13, "near": 2, "sets": 2, "identical_with_several_labels": 0, "taken_out_of_given_splits": 0,
    }  # fmt: skip
    assert len(done.duplicates) == 15
    assert done.quarantine.empty


def test_one_image_with_several_labels_is_reported(raw: Path) -> None:
    _copy(raw, "blue/001.png", "red/wrong.png")
    done = _run(raw)
    assert done.several_labels() == [[("blue/001.png", "blue"), ("red/wrong.png", "red")]]
    assert done.figures()["duplicates"]["identical_with_several_labels"] == 1  # type: ignore[index]


def _give_splits(raw: Path, column: str = "split") -> pd.DataFrame:
    table = raw / "raw/labels.csv"
    labels = pd.read_csv(table, keep_default_na=False)
    labels[column] = ["test" if i % 4 == 0 else "train" for i in range(len(labels))]
    labels.to_csv(table, index=False)
    return labels


def test_given_splits_are_kept_and_the_missing_one_is_drawn(raw: Path) -> None:
    given = _give_splits(raw).set_index("image")["split"]
    done = _run(raw)
    found = done.splits.set_index("image")["split"]
    assert set(found[given[found.index] == "test"]) == {"test"}
    assert done.spec.counts == {"train": 18, "validation": 6, "test": 8}


def test_a_training_image_that_the_test_holds_as_well_is_left_out(raw: Path) -> None:
    _copy(raw, "blue/000.png", "blue/leak.png")
    _give_splits(raw)  # blue/000.png is given to the test
    table = raw / "raw/labels.csv"
    row = "blue/leak.png,blue,,1.0,blue,,"
    text = table.read_text(encoding="utf-8").replace(f"{row}test", f"{row}train")
    table.write_text(text, encoding="utf-8")
    done = _run(raw)
    reason = "a copy of blue/000.png, which is in the test split"
    assert list(done.quarantine.itertuples(index=False, name=None)) == [("blue/leak.png", reason)]
    figures: Any = done.figures()
    assert (done.left_out.bad, figures["duplicates"]["taken_out_of_given_splits"]) == (0, 1)
    check_left_out(done, 0.0, 0.05)
    with pytest.raises(
        UserError, match=r"1 of 33 images were removed as copies .* allows 2.0% \(duplicates.max_removed"
    ):
        check_left_out(done, 0.0, 0.02)


def test_groups_never_straddle_splits(raw: Path) -> None:
    table = raw / "raw/labels.csv"
    labels = pd.read_csv(table, keep_default_na=False)
    labels["group"] = [f"patient {i // 3}" for i in range(len(labels))]
    labels.to_csv(table, index=False)
    done = _run(raw)
    groups = labels.set_index("image")["group"][done.splits["image"]].to_numpy()
    assert (done.splits["split"].groupby(groups).nunique() == 1).all()
    assert done.figures()["groups"] == 11


def test_many_shards_give_the_same_records_as_one(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_one = _run(raw)
    files = [path.read_bytes() for path in sorted((raw / "records").rglob("*.tfrecord"))]
    monkeypatch.setattr(image_shards, "MIN_BYTES", 1)
    monkeypatch.setattr(image_shards, "MAX_SHARD_BYTES", 8000)
    with _images(raw):
        pass
    assert len(image_shards.shards(raw / "raw/images")) > 3
    of_many = _run(raw)
    pd.testing.assert_frame_equal(of_many.splits, of_one.splits)
    assert [path.read_bytes() for path in sorted((raw / "records").rglob("*.tfrecord"))] == files


class OneByOne:
    """Has each item done by itself, and each twice, the last one first, as the workers of a cluster may."""

    def __init__(self) -> None:
        self.items = dict[str, int]()

    def run(self, work: Work[Item, Result], items: Iterable[Item], images: int, title: str) -> list[Result]:
        given = [pickle.dumps(item) for item in items]
        self.items[title] = len(given)
        work = pickle.loads(pickle.dumps(work))
        done = [work([pickle.loads(item)], lambda _: None) for item in (*given, *given[::-1])]
        return [pickle.loads(pickle.dumps(result)) for result in done[len(given) :][::-1]]


def test_however_the_work_is_divided_the_bytes_are_the_same(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _copy(raw, "blue/003.png", "red/wrong.png")
    monkeypatch.setattr(image_shards, "MIN_BYTES", 1)
    monkeypatch.setattr(image_shards, "MAX_SHARD_BYTES", 8000)
    monkeypatch.setattr(records, "SHARD_BYTES", 3 * 16 * 16 * 3)
    _spoil(raw)
    assert len(image_shards.shards(raw / "raw/images")) > 3
    whole = _run(raw)
    files = {path.relative_to(raw): path.read_bytes() for path in sorted((raw / "records").rglob("*.*"))}
    assert len(files) > 5
    divided = _run(raw, runner=(one_by_one := OneByOne()))
    assert one_by_one.items["write"] == 2  # of up to 8 shards, which a worker writes at once
    assert {path.relative_to(raw): path.read_bytes() for path in sorted((raw / "records").rglob("*.*"))} == files
    for name in ("splits", "quarantine", "duplicates"):
        pd.testing.assert_frame_equal(getattr(divided, name), getattr(whole, name))
    assert len(whole.quarantine) == 5
    assert len(whole.duplicates) == 2
    assert divided.figures() == whole.figures()


def test_a_damaged_shard_is_an_error_with_what_to_do(raw: Path) -> None:
    shard = raw / "raw/images/00000.zip"
    shard.write_bytes(shard.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"00000.zip: damaged file .*: dvc repro -f download"):
        _run(raw)


def test_a_damaged_image_in_a_shard_goes_to_quarantine(raw: Path) -> None:
    shard = raw / "raw/images/00000.zip"
    with ZipFile(shard) as opened:
        place = opened.getinfo("red/005.png").header_offset + 300
    content = bytearray(shard.read_bytes())
    content[place] ^= 1
    shard.write_bytes(content)
    done = _run(raw)
    assert list(done.quarantine["image"]) == ["red/005.png"]
    assert "expected what was written, received a damaged file: Bad CRC-32" in done.quarantine["reason"][0]


def test_shards_in_another_order_than_names_give_the_same_records(raw: Path) -> None:
    _run(raw)
    files = [path.read_bytes() for path in sorted((raw / "records").rglob("*.tfrecord"))]
    with _images(raw) as images:
        shutil.copytree(images, raw / "kept")
    names = [f"{label}/{i:03}.png" for label in ("red", "blue") for i in range(16)]
    shutil.rmtree(raw / "raw/images")
    write_shards(raw / "kept", names, raw / "raw/images")
    _run(raw)
    assert [path.read_bytes() for path in sorted((raw / "records").rglob("*.tfrecord"))] == files


def test_nothing_else_is_left_in_the_folder_of_records(raw: Path) -> None:
    _run(raw)
    assert sorted(path.name for path in (raw / "records").iterdir()) == ["test", "train", "validation"]


def test_the_same_images_give_the_same_bytes(raw: Path) -> None:
    written = []
    for _ in range(2):
        _run(raw)
        files = sorted((raw / "records").rglob("*.tfrecord"))
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]
    assert len(written[0]) == 3


PARTS = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: counts(name) and name.upper() not in ("CARD.YAML", "LABELS.CSV")
)


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    classes=st.lists(PARTS, min_size=2, max_size=2, unique_by=_nfc),
    names=st.lists(PARTS, min_size=1, max_size=4, unique=True),
)
@example(classes=["NA", "null"], names=["a\nb", "a\r\nb", "a,b", '"', " ", "-rf"])
@example(classes=["\x85", "a\x85b"], names=["\x85", "\u2028"])
@example(classes=["a\u0301", "e\u0301"], names=["\u00e9", "e\u0301", "\ufeff", "\u202e"])
def test_names_of_any_characters_come_through(
    classes: list[str], names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each class also has plain images, so that no split lacks one; names that look the same are different files, but
    one class.
    """
    folder = tmp_path_factory.mktemp("names")
    for shade, label in enumerate(classes):
        (folder / "pictures" / label).mkdir(parents=True)
        for i, name in enumerate([*names, *(f"plain {i}" for i in range(8))]):
            pixels = np.random.default_rng(100 * shade + i).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / label / f"{name}.png")
    expected = {f"{label}/{name}.png": _nfc(label) for label in classes for name in names}
    obtain(folder / "pictures", folder / "raw")
    done = _run(folder)
    assert len(done.quarantine) == 0
    received: dict[str, str] = {}
    for split in ("train", "validation", "test"):
        for batch in read_records(folder / "records" / split, done.spec, 64):
            labels = [done.spec.classes[label] for label in batch.labels]
            received |= dict(zip(batch.images, labels, strict=True))
    assert {image: received[image] for image in expected} == expected
    done.splits.to_csv(folder / "splits.csv", index=False)
    strata = pd.read_csv(folder / "splits.csv", dtype=str, keep_default_na=False, lineterminator="\n").set_index(
        "image"
    )
    assert set(expected) <= set(strata.index)


def test_a_name_that_is_no_utf_8_is_an_error_that_shows_it(tmp_path: Path) -> None:
    colour_images(tmp_path / "pictures", COLOURS, each=2, size=8)
    (tmp_path / "pictures/red/000.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/pictures/red/caf\xe9.png"))
    with pytest.raises(UserError, match=r"the name of a file is not UTF-8: b'red/caf\\xe9.png'. Rename it"):
        obtain(tmp_path / "pictures", tmp_path / "raw")


def _grown(folder: Path, draw: Callable[[np.random.Generator, int], Image.Image], each: int = 16) -> None:
    """data/raw of images of two classes, which differ in their lower right, as `draw` has them."""
    random = np.random.default_rng(0)
    for number, name in enumerate(COLOURS):
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(each):
            draw(random, number).save(folder / "pictures" / name / f"{i:03}.png")
    obtain(folder / "pictures", folder / "raw")


def _sixteen_bits(top: int) -> Callable[[np.random.Generator, int], Image.Image]:
    def draw(random: np.random.Generator, number: int) -> Image.Image:
        coarse = random.integers(0, top + 1, (4, 4)).repeat(8, axis=0).repeat(8, axis=1)
        coarse[:8, :8] = top
        return Image.fromarray(coarse.astype(np.uint16))

    return draw


def _strokes(colour: str) -> Callable[[np.random.Generator, int], Image.Image]:
    def draw(random: np.random.Generator, number: int) -> Image.Image:
        image = Image.new("RGBA", (32, 32), "#00000000")
        for x, y in random.integers(0, 28, (6, 2)).tolist():
            image.paste(colour, (x, y, x + 4, y + 4))
        return image

    return draw


def _pixels(folder: Path, done: Preprocessed) -> np.ndarray:
    return np.concatenate([batch.pixels for batch in read_records(folder / "records/train", done.spec, 64)])


@pytest.mark.parametrize(("top", "depth"), [(255, 8), (1000, 10), (4095, 12), (65535, 16)])
def test_sixteen_bits_are_scaled_by_what_the_dataset_uses(tmp_path: Path, top: int, depth: int) -> None:
    _grown(tmp_path, _sixteen_bits(top))
    done = _run(tmp_path)
    assert done.spec.bit_depth == depth
    pixels = _pixels(tmp_path, done)
    assert len(np.unique(pixels)) > 100
    assert pixels.max() == (249 if top == 1000 else 255)
    assert done.quarantine.empty
    assert f"16-bit grey values are read as {depth}-bit" in done.summary(Path("d.csv"))
    files = [path.read_bytes() for path in sorted((tmp_path / "records").rglob("*.*"))]
    assert _run(tmp_path, runner=OneByOne()).spec == done.spec
    assert [path.read_bytes() for path in sorted((tmp_path / "records").rglob("*.*"))] == files


def test_different_training_images_of_sixteen_bits_are_not_removed(tmp_path: Path) -> None:
    _grown(tmp_path, _sixteen_bits(255))
    _give_splits(tmp_path)
    done = _run(tmp_path)
    assert (len(done.splits), done.left_out.copies) == (32, 0)


@pytest.mark.parametrize(
    ("ink", "background"), [("black", (255, 255, 255)), ("white", (0, 0, 0)), ("red", (255, 255, 255))]
)
def test_transparency_shows_a_background_that_hides_nothing(
    tmp_path: Path, ink: str, background: tuple[int, int, int]
) -> None:
    _grown(tmp_path, _strokes(ink))
    _give_splits(tmp_path)
    done = _run(tmp_path)
    assert done.spec.background == background
    assert (len(done.splits), len(done.quarantine), done.flat) == (32, 0, 0)
    assert (np.ptp(_pixels(tmp_path, done), axis=(1, 2)).max(axis=1) > 100).all()


def test_the_card_decides_how_images_become_eight_bits(tmp_path: Path) -> None:
    _grown(tmp_path, _sixteen_bits(1000))
    Image.new("RGBA", (8, 8), "#00000000").save(tmp_path / "pictures/red/empty.png")
    lines = "title: t\nbit_depth: 11\nbackground: [10, 20, 30]\n"
    (tmp_path / "pictures/card.yaml").write_text(lines, encoding="utf-8")
    shutil.rmtree(tmp_path / "raw")
    obtain(tmp_path / "pictures", tmp_path / "raw")
    done = _run(tmp_path)
    assert (done.spec.bit_depth, done.spec.background) == (11, (10, 20, 30))
    assert _pixels(tmp_path, done).max() == round(1000 * 255 / 2047)
    assert done.flat == 1
    assert "images of nearly one colour, kept: 1" in done.summary(Path("d.csv"))


def test_only_images_that_take_part_say_how_many_bits_there_are(tmp_path: Path) -> None:
    _grown(tmp_path, _sixteen_bits(255))
    taken = set(_run(tmp_path, max_images=12).splits["image"])
    with _images(tmp_path) as images:
        other = next(i for i in range(16) if f"red/{i:03}.png" not in taken)
        Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(images / f"red/{other:03}.png")
    assert _run(tmp_path, max_images=12).spec.bit_depth == 8
    with pytest.raises(UserError, match="class 'blue': 16 unusable images; class 'red': 15 unusable images"):
        _run(tmp_path)  # beside the bright one, all others would be black


def test_what_the_conversion_hides_is_quarantined_and_counted(tmp_path: Path) -> None:
    _grown(tmp_path, _sixteen_bits(65535))
    _sixteen_bits(255)(np.random.default_rng(1), 0).save(tmp_path / "pictures/red/dark.png")
    shutil.rmtree(tmp_path / "raw")
    obtain(tmp_path / "pictures", tmp_path / "raw")
    done = _run(tmp_path)
    assert list(done.quarantine["image"]) == ["red/dark.png"]
    assert done.quarantine["reason"][0].startswith("its 16-bit values, ")
    with pytest.raises(UserError, match=r"1 of 33 images could not be used \(3.0%\)"):
        check_left_out(done, 0.01, 0.0)


def test_an_error_leaves_the_quarantine_and_says_what_is_in_it(raw: Path) -> None:
    _copy(raw, "blue/000.png", "blue/leak.png")
    _give_splits(raw)
    table = raw / "raw/labels.csv"
    row = "blue/leak.png,blue,,1.0,blue,,"
    text = table.read_text(encoding="utf-8").replace(f"{row}test", f"{row}train")
    table.write_text(text, encoding="utf-8")
    with _images(raw) as images:
        for i in range(16):
            (images / f"red/{i:03}.png").write_bytes(b"")
    with pytest.raises(UserError) as error:
        _run(raw)
    said = "/quarantine.csv: class 'red': 16 unusable images; class 'blue': 1 removed copy"
    assert f"Left out, as listed with reasons in {raw}{said}" in str(error.value)
    listed = pd.read_csv(raw / "quarantine.csv")
    assert len(listed) == 17
    assert listed["reason"][16] == "a copy of blue/000.png, which is in the test split"


def test_a_split_that_cannot_be_made_leaves_the_quarantine_too(raw: Path) -> None:
    table = raw / "raw/labels.csv"
    labels = pd.read_csv(table, keep_default_na=False)
    labels["group"] = labels["label"]
    labels.to_csv(table, index=False)
    with _images(raw) as images:
        (images / "red/003.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"(?s)split .*Left out, .*: class 'red': 1 unusable image$"):
        _run(raw)
    assert list(pd.read_csv(raw / "quarantine.csv")["image"]) == ["red/003.png"]


def test_copies_across_partly_given_splits_follow_them(raw: Path) -> None:
    """Of a group without a split, one image is a copy of a test image and another of a training image."""
    _copy(raw, "blue/001.png", "blue/x.png")
    _copy(raw, "blue/002.png", "blue/y.png")
    table = raw / "raw/labels.csv"
    labels = pd.read_csv(table, keep_default_na=False).set_index("image")
    labels["split"] = ""
    labels.loc[["blue/001.png", "red/001.png"], "split"] = "test"
    labels.loc["blue/002.png", "split"] = "train"
    labels.loc[["blue/x.png", "blue/y.png", "blue/003.png"], "group"] = "patient"
    labels.reset_index().to_csv(table, index=False)
    done = _run(raw)
    split_of = done.splits.set_index("image")["split"]
    for image in ("blue/001.png", "blue/x.png", "blue/y.png", "blue/003.png"):
        assert split_of[image] == "test"
    reason = "a copy of blue/y.png, which is in the test split"
    assert list(done.quarantine.itertuples(index=False, name=None)) == [("blue/002.png", reason)]
    assert done.followed == 3
    assert "put in that of a copy or of its group" in "".join(done.summary(Path("d.csv")))
