"""Tests of transfer/dataset/tfds.py: datasets of TFDS become files; with real builders over local files, no network."""

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from transfer.core.errors import UserError
from transfer.dataset.tfds import TfdsImages, bring, bring_images, find_builder

Examples = dict[str, list[dict[str, Any]]]
CLASSES = ["zebra", "ant"]  # not in alphabetical order: the order of the class numbers is kept


def _encoded(seed: int, kind: str, mode: str = "RGB") -> bytes:
    shape = (9, 8) if mode == "L" else (9, 8, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def patterns(
    root: Path,
    features: dict[str, Any],
    splits: Examples,
    keys: tuple[str, str] | None = ("image", "label"),
    shards: int | None = None,
    config: str | None = None,
) -> Any:
    """Prepare a dataset patterns/[CONFIG/]1.2.0 in `root` with a builder of its own, and return that."""

    class Patterns(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version("1.2.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []

        def _info(self) -> Any:
            described = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=described, supervised_keys=keys)

        def _split_generators(self, _: Any) -> dict[str, Any]:
            return {name: self._generate_examples(examples) for name, examples in splits.items()}

        def _generate_examples(self, examples: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
            yield from enumerate(examples)

    tfds.disable_progress_bar()
    builder = Patterns(data_dir=str(root))
    if splits:
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    return builder


def _image_label(**options: Any) -> dict[str, Any]:
    return {"image": tfds.features.Image(**options), "label": tfds.features.ClassLabel(names=CLASSES)}


def _written(done: TfdsImages, folder: Path) -> list[tuple[Path, str, str]]:
    """File, class and split of each image."""
    columns = (done.labels["image"], done.labels["label"], done.labels["split"])
    return [(folder / image, label, split) for image, label, split in zip(*columns, strict=True)]


def _examples(contents: list[bytes], labels: list[int]) -> list[dict[str, Any]]:
    return [{"image": io.BytesIO(content), "label": label} for content, label in zip(contents, labels, strict=True)]


TRAIN = [_encoded(seed, "JPEG" if seed % 2 else "PNG") for seed in range(12)]
VALID = [_encoded(seed, "PNG") for seed in range(20, 23)]
TEST = [_encoded(seed, "PNG") for seed in range(30, 34)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir with patterns/1.2.0 in TFDS' own format, which TFDS has no code for."""
    root = tmp_path_factory.mktemp("tfds")
    splits = {
        "train": _examples(TRAIN, [number % 2 for number in range(12)]),
        "valid": _examples(VALID, [0, 1, 1]),
        "test": _examples(TEST, [1, -1, 0, -1]),
        "unlabelled": _examples([_encoded(seed, "PNG") for seed in range(40, 45)], [-1] * 5),
    }
    patterns(root, _image_label(), splits, shards=3)
    return root


def test_encoded_images_are_written_byte_for_byte_with_classes_and_splits(place: Path, tmp_path: Path) -> None:
    done = bring("patterns", "1.2.0", place, tmp_path)
    assert done.classes == ("zebra", "ant")
    assert list(done.labels.columns) == ["image", "label", "split"]
    assert done.labels["split"].value_counts().to_dict() == {"train": 12, "validation": 3, "test": 2}
    written = {path.read_bytes(): (path.suffix, label, split) for path, label, split in _written(done, tmp_path)}
    expected = {content: (CLASSES[number % 2], "train") for number, content in enumerate(TRAIN)}
    expected |= {VALID[0]: ("zebra", "validation"), VALID[1]: ("ant", "validation"), VALID[2]: ("ant", "validation")}
    expected |= {TEST[0]: ("ant", "test"), TEST[2]: ("zebra", "test")}
    suffix = {content: ".jpg" if content.startswith(b"\xff\xd8") else ".png" for content in expected}
    assert written == {content: (suffix[content], *rest) for content, rest in expected.items()}
    assert len(done.labels) == len(expected)


def test_what_has_no_label_or_no_usable_split_is_named_and_not_written(place: Path, tmp_path: Path) -> None:
    done = bring("patterns", None, place, tmp_path)
    assert done.passed_over == ["split unlabelled: 5 examples"]
    assert len(done.unlabelled) == 2
    written = {path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {*TRAIN, *VALID, TEST[0], TEST[2]}
    numbers = {
        re.sub(r".*-0*(\d+)\..*", r"test/\1", image) for image in done.labels["image"] if image.startswith("test")
    }
    assert numbers | set(done.unlabelled) == {f"test/{number}" for number in range(4)}


def test_the_order_is_that_of_the_files_each_time(place: Path, tmp_path: Path) -> None:
    first, second = (bring("patterns", "1.2.0", place, tmp_path / name) for name in "ab")
    assert first.labels.equals(second.labels)
    train = first.labels[first.labels["split"] == "train"]
    assert [Path(image).stem for image in train["image"]] == [f"train-{number:06}" for number in range(12)]
    by_shard = []  # TFDS' own reader, one file after the other
    for shard in range(3):
        part = tfds.builder_from_directory(str(place / "patterns/1.2.0"))
        skip = {"image": tfds.decode.SkipDecoding()}
        by_shard += [e["image"] for e in tfds.as_numpy(part.as_dataset(split=f"train[{shard}shard]", decoders=skip))]
    assert [(tmp_path / "a" / image).read_bytes() for image in train["image"]] == by_shard


def test_no_folder_holds_more_than_a_thousand_files(tmp_path: Path) -> None:
    one = _encoded(1, "PNG", "L")
    builder = patterns(
        tmp_path / "tfds", _image_label(shape=(None, None, 1)), {"train": _examples([one] * 1001, [0] * 1001)}
    )
    done = bring_images(builder, tmp_path / "images")
    assert done.labels["image"].iloc[[0, 999, 1000]].tolist() == [
        "train/00000/train-000000.png",
        "train/00000/train-000999.png",
        "train/00001/train-001000.png",
    ]


def test_grey_images_stay_as_they_are(tmp_path: Path) -> None:
    grey = [_encoded(1, "PNG", "L"), _encoded(2, "JPEG", "L")]
    builder = patterns(tmp_path / "tfds", _image_label(shape=(None, None, 1)), {"train": _examples(grey, [0, 1])})
    done = bring_images(builder, tmp_path / "images")
    files = [tmp_path / "images" / image for image in done.labels["image"]]
    assert {path.read_bytes() for path in files} == set(grey)
    for path in files:
        with Image.open(path) as image:
            assert image.mode == "L"


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3), (6, 5, 4)])
def test_a_tensor_of_bytes_becomes_a_png_of_equal_pixels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    features = {
        "image": tfds.features.Tensor(shape=shape, dtype=np.uint8),
        "label": tfds.features.ClassLabel(names=CLASSES),
    }
    pixels = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    examples = [{"image": pixels[number], "label": number} for number in range(2)]
    done = bring_images(patterns(tmp_path / "tfds", features, {"train": examples}), tmp_path / "images")
    assert sorted(done.labels["label"]) == ["ant", "zebra"]
    for path, label, _ in _written(done, tmp_path / "images"):
        assert path.suffix == ".png"
        with Image.open(path) as image:
            read = np.asarray(image)
        assert np.array_equal(read, pixels[CLASSES.index(label)].reshape(read.shape))


def test_bytes_that_are_no_image_are_written_for_the_quarantine(tmp_path: Path) -> None:
    builder = patterns(tmp_path / "tfds", _image_label(), {"train": _examples([b"none", TRAIN[0]], [0, 1])})
    done = bring_images(builder, tmp_path / "images")
    assert sorted(Path(image).suffix for image in done.labels["image"]) == [".bin", ".png"]


def test_a_configuration_is_found_by_its_name(tmp_path: Path) -> None:
    patterns(tmp_path, _image_label(), {"train": _examples(TRAIN[:2], [0, 1])}, config="small")
    done = bring("patterns/small", "1.2.0", tmp_path, tmp_path / "images")
    assert {(tmp_path / "images" / image).read_bytes() for image in done.labels["image"]} == set(TRAIN[:2])


def test_a_single_split_of_another_name_is_no_given_split(tmp_path: Path) -> None:
    builder = patterns(tmp_path / "tfds", _image_label(), {"everything": _examples(TRAIN[:2], [0, 1])})
    done = bring_images(builder, tmp_path / "images")
    assert (list(done.labels["split"]), done.passed_over) == (["", ""], [])


def test_of_two_names_for_one_split_the_exact_one_counts(tmp_path: Path) -> None:
    splits = {"val": _examples(TRAIN[:1], [0]), "validation": _examples(TRAIN[1:3], [0, 1])}
    done = bring_images(patterns(tmp_path / "tfds", _image_label(), splits), tmp_path / "images")
    assert (list(done.labels["split"]), done.passed_over) == (["validation"] * 2, ["split val: 1 examples"])


def test_several_unknown_splits_are_an_error(tmp_path: Path) -> None:
    splits = {"north": _examples(TRAIN[:1], [0]), "south": _examples(TRAIN[1:2], [0])}
    with pytest.raises(
        UserError, match=r"patterns/1.2.0: expected one split, or splits named train, .*received north, south"
    ):
        bring_images(patterns(tmp_path / "tfds", _image_label(), splits), tmp_path / "images")


def _two_images() -> dict[str, Any]:
    return {**_image_label(), "mask": tfds.features.Image(), "kind": tfds.features.ClassLabel(names=["a", "b"])}


def test_supervised_keys_choose_among_several_images_and_labels(tmp_path: Path) -> None:
    example = {"image": io.BytesIO(TRAIN[0]), "mask": io.BytesIO(TRAIN[2]), "label": 0, "kind": 1}
    builder = patterns(tmp_path / "tfds", _two_images(), {"train": [example]}, keys=("mask", "kind"))
    done = bring_images(builder, tmp_path / "images")
    assert done.classes == ("a", "b")
    assert list(done.labels["label"]) == ["b"]
    assert (tmp_path / "images" / done.labels["image"][0]).read_bytes() == TRAIN[2]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (_two_images(), r"image \(Image\), .*mask \(Image\).*; supervised_keys: None"),
        (
            {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=2)},
            r"received text \(Text\), label \(ClassLabel\)",
        ),
        ({"image": tfds.features.Image(), "label": np.int64}, r"image \(Image\), label \(Tensor\)"),
        (
            {
                "image": tfds.features.Image(shape=(4, 4, 1), dtype=np.float32),
                "label": tfds.features.ClassLabel(num_classes=2),
            },
            r"expected an image of 8 or 16 bits and a ClassLabel",
        ),
        (
            {
                "image": tfds.features.Tensor(shape=(4, 4, 3), dtype=np.float32),
                "label": tfds.features.ClassLabel(num_classes=2),
            },
            r"image \(Tensor\)",
        ),
    ],
)
def test_a_dataset_without_an_image_and_a_label_is_an_error(tmp_path: Path, features: Any, message: str) -> None:
    builder = patterns(tmp_path / "tfds", features, {}, keys=None)
    with pytest.raises(UserError, match=message) as raised:
        bring_images(builder, tmp_path / "images")
    assert "\n" not in str(raised.value)


def test_one_class_is_an_error(tmp_path: Path) -> None:
    features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["one"])}
    builder = patterns(tmp_path / "tfds", features, {"train": _examples(TRAIN[:1], [0])})
    with pytest.raises(UserError, match=r"expected two or more classes, received \['one'\]"):
        bring_images(builder, tmp_path / "images")


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("tf_flowrs", "3.0.1", r"has no dataset 'tf_flowrs:3.0.1', .*; did you mean tf_flowers"),
        ("pattern", None, r"has no dataset 'pattern', and none is prepared in .*; did you mean patterns:1.2.0"),
        ("qqqqqqqqqqqq", None, r"has no dataset 'qqqqqqqqqqqq', .*; correct the card's source$"),
        ("tf_flowers", "9.0.0", r"tfds: tf_flowers: .* cannot be loaded at version 9.0.0, only: 3.0.1"),
        ("patterns", "1.0.0", r"has no dataset 'patterns:1.0.0', .*; did you mean patterns:1.2.0"),
        ("imagenet_resized/8x9", None, r"tfds: imagenet_resized/8x9: .*BuilderConfig 8x9 not found .*8x8"),
    ],
)
def test_a_wrong_name_is_an_error_that_names_close_ones(
    place: Path, name: str, version: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        find_builder(name, version, place)
    assert "\n" not in str(raised.value)


def test_no_way_to_download_is_one_line_that_says_what_was_tried_and_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for variable in ("http_proxy", "https_proxy"):  # so that it fails where there is a network, too: nobody listens
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(UserError) as raised:
        bring("tf_flowers", "3.0.1", tmp_path, tmp_path / "images")
    message = str(raised.value)
    assert "\n" not in message
    for part in (
        f"expected it prepared in {tmp_path}/tf_flowers/3.0.1",
        "http://download.tensorflow.org/example_images/flower_photos.tgz: [Errno 111] Connection refused",
        "t.load('tf_flowers:3.0.1')",
        "copy ~/tensorflow_datasets/tf_flowers/3.0.1 here",
        "data_dir",
    ):
        assert part in message
    assert caplog.records == []


def test_a_dataset_that_is_to_be_downloaded_by_hand_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"Manual directory .* does not exist or is empty.*ILSVRC2012_img_train.tar"
    ) as raised:
        bring("imagenet2012", "5.1.0", tmp_path, tmp_path / "images")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_damaged_files_are_an_error_that_says_where(place: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(place, tmp_path / "tfds")
    (shard,) = (tmp_path / "tfds/patterns/1.2.0").glob("patterns-train.tfrecord-00001-*")
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(
        UserError, match=r"patterns/1.2.0: split train: expected what TFDS prepared, received: "
    ) as raised:
        bring("patterns", "1.2.0", tmp_path / "tfds", tmp_path / "images")
    assert "\n" not in str(raised.value)


def test_a_damaged_description_is_an_error(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "tfds")
    (tmp_path / "tfds/patterns/1.2.0/dataset_info.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"tfds: patterns: .*; correct the card's source") as raised:
        bring("patterns", "1.2.0", tmp_path / "tfds", tmp_path / "images")
    assert "\n" not in str(raised.value)
