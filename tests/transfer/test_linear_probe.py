"""Tests of transfer/linear_probe.py: which images are read, in what folds, and that features are worth something."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.conftest import SMALL, RunStage
from transfer.core.errors import UserError
from transfer.core.params import Params
from transfer.core.spec import Spec
from transfer.core.strict import validate
from transfer.dataset.pool import ShardImages
from transfer.dataset.shards import write_shards
from transfer.linear_probe import (
    TrainingImages,
    cached_features,
    compute_features,
    cross_validate,
    read_training_images,
)
from transfer.overrides import merged
from transfer.records.tfrecords import normalise, read_records
from transfer.results.statistics import compare_pairs

PLACES = tuple(map(Path, ("data/raw", "data/records/spec.json", "data/splits.csv", "data/duplicates.csv")))


def _read() -> TrainingImages:
    return read_training_images(*PLACES)


def spoil(splits: set[str]) -> None:
    """Put something else in the place of the images of some splits in data/raw."""
    table = pd.read_csv("data/splits.csv").set_index("image")["split"]
    for path in Path("data/raw/images").glob("*.zip"):
        with zipfile.ZipFile(path) as shard:
            contents = {name: shard.read(name) for name in shard.namelist()}
        with zipfile.ZipFile(path, "w") as shard:
            for name, content in contents.items():
                shard.writestr(name, b"no image" if table[name] in splits else content)


@pytest.fixture
def preprocessed(project: Path, run_stage: RunStage) -> Path:
    for name in ("download", "preprocess"):
        run_stage(name)
    return project


def test_the_images_are_those_of_the_training_records(preprocessed: Path) -> None:
    images = _read()
    (batch,) = read_records(Path("data/records/train"), images.spec, 100)
    np.testing.assert_array_equal(np.concatenate(list(images.batches(32))), normalise(batch.pixels))
    np.testing.assert_array_equal(images.labels, batch.labels)
    assert list(images.groups) == batch.images
    assert next(images.batches(48)).shape == (24, 48, 48, 3)


def test_other_images_are_neither_read_nor_part_of_the_hash(preprocessed: Path) -> None:
    before, digest = list(_read().batches(32)), _read().digest()
    spoil({"test", "validation"})
    np.testing.assert_array_equal(list(_read().batches(32)), before)
    assert _read().digest() == digest
    spoil({"train"})
    assert _read().digest() != digest
    with pytest.raises(UserError, match=r"00000.zip: blue/\d+.png: .*cannot identify.*: dvc repro preprocess"):
        list(_read().batches(32))


def test_copies_and_the_groups_of_the_dataset_are_one(preprocessed: Path) -> None:
    names = list(_read().groups)
    rows = {"same": [names[0]] * 2, "identical": names[:2], "image": names[:2], "label": "blue", "split": "train"}
    pd.DataFrame(rows).to_csv("data/duplicates.csv", index=False)
    labels = pd.read_csv("data/raw/labels.csv", keep_default_na=False)
    labels.loc[labels["image"].isin(names[1:3]), "group"] = "mine"
    labels.to_csv("data/raw/labels.csv", index=False)
    assert list(_read().groups) == [names[0]] * 3 + names[3:]


@pytest.mark.parametrize("path", PLACES)
def test_what_is_missing_can_be_made(path: Path, preprocessed: Path) -> None:
    path.rename("away")
    with pytest.raises(UserError, match=f"{path} is missing; make it: dvc repro preprocess"):
        _read()


def test_outputs_of_different_runs_are_refused(preprocessed: Path) -> None:
    table = pd.read_csv("data/splits.csv")
    table["image"] = table["image"].replace(table["image"][table["split"] == "train"].iloc[0], "another.png")
    table.to_csv("data/splits.csv", index=False)
    with pytest.raises(UserError, match="not of the same run; make them again: dvc repro preprocess"):
        _read()


def _images(labels: list[int], groups: list[str]) -> TrainingImages:
    spec = Spec(("one", "two"), None, "none", 8, 1, {"train": len(labels)})
    return TrainingImages([], np.array(labels), np.array(groups), spec)


def test_an_image_is_judged_by_what_was_not_fitted_to_its_copies() -> None:
    """Features tell copies apart from others, and nothing else: knowing the copy is knowing the label."""
    random = np.random.default_rng(0)
    labels = np.repeat(random.permutation([0, 1] * 20), 2)
    values = np.repeat(random.normal(size=(40, 400)), 2, axis=0).astype(np.float32)
    copies, alone = [f"{i // 2}" for i in range(80)], [f"{i}" for i in range(80)]
    right = {
        name: (cross_validate(values, _images(list(labels), groups), 1).argmax(axis=1) == labels).mean()
        for name, groups in {"copies": copies, "alone": alone}.items()
    }
    assert right["alone"] > 0.8
    assert 0.3 < right["copies"] < 0.7


def test_the_probabilities_are_those_of_the_classes() -> None:
    values = np.repeat([[0.0], [1.0]], 10, axis=0).astype(np.float32)
    found = cross_validate(values, _images([0] * 10 + [1] * 10, list("abcdefghijklmnopqrst")), 1)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found[:10, 0] > 0.9).all()
    assert (found[10:, 1] > 0.9).all()


def test_a_class_of_one_group_has_no_folds() -> None:
    with pytest.raises(UserError, match="class 'two': expected at least 2 training images that are no copies"):
        cross_validate(np.zeros((4, 2), np.float32), _images([0, 0, 1, 1], ["a", "b", "c", "c"]), 1)


def _params(**given: object) -> Params:
    return validate(Params, merged(SMALL, given, "tests"), Path("params.yaml"))


def test_features_are_computed_once_for_the_same_weights_size_and_pooling(
    preprocessed: Path, tiny_backbone: None
) -> None:
    images, folder = _read(), preprocessed / "kept"
    first, was_there = cached_features(_params(), images, folder)
    assert not was_there
    assert first.values.shape == (24, 16)
    assert min(first.seconds, first.image_seconds) > 0
    again, was_there = cached_features(_params(lr=0.5), images, folder)
    assert was_there
    np.testing.assert_array_equal(again.values, first.values)
    assert vars(again) | {"values": 0} == vars(first) | {"values": 0}
    changes: tuple[dict[str, object], ...] = (
        {"image_size": 48},
        {"weights": "none"},
        {"weights": "none", "seed": 5},
        {"head": {"pooling": "max"}},
        {"engine": "tensorflow"},
    )
    for change in changes:
        assert not cached_features(_params(**change), images, folder)[1], change
    assert len(list(folder.iterdir())) == 6
    spoil({"test"})
    assert cached_features(_params(), _read(), folder)[1]


def _letters(each: int, size: int) -> Iterator[tuple[str, Image.Image]]:
    """Letters of different sizes, places, angles and contrasts, in noise."""
    random = np.random.default_rng(0)
    for name in (f"{letter}/{i:03}.png" for letter in "ABC" for i in range(each)):
        image = Image.new("L", (size, size))
        font = ImageFont.load_default(float(random.integers(24, 44)))
        ImageDraw.Draw(image).text((size / 2, size / 2), name[0], fill=255, font=font, anchor="mm")
        moved = image.rotate(random.uniform(-40, 40), translate=tuple(random.integers(-10, 11, 2).tolist()))
        pixels = np.asarray(moved) * random.uniform(0.4, 0.8) + random.normal(60, 30, (size, size))
        yield name, Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_trained_weights_beat_random_ones(backbone: str, tmp_path: Path) -> None:
    names = []
    for name, image in _letters(30, 64):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name)
        names.append(name)
    write_shards(tmp_path, names, tmp_path / "shards")
    labels = np.array(["ABC".index(name[0]) for name in names])
    spec = Spec(("A", "B", "C"), None, "none", 64, 1, {"train": len(names)})
    images = TrainingImages([ShardImages(tmp_path / "shards/00000.zip", names)], labels, np.array(names), spec)
    right = {}
    for weights in ("none", "packaged"):
        features = compute_features(_params(backbone=backbone, weights=weights, image_size=64), images)
        right[weights] = cross_validate(features.values, images, 1).argmax(axis=1) == labels
    (pair,) = compare_pairs(right, 200, 1)
    assert right["packaged"].mean() > 0.9
    assert pair.low > 0.2
    assert pair.p_holm < 1e-6
