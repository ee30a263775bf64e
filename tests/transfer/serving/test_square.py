"""An image that is not square is the same to training and to every way of prediction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.transfer.conftest import SIZE, Exported, images_of
from transfer.core.arrays import Pixels
from transfer.core.params import Duplicates, Split, Square
from transfer.core.spec import Resize, Spec
from transfer.dataset.obtain import obtain
from transfer.dataset.preprocess import Settings, preprocess
from transfer.export.classifiers import open_classifier
from transfer.export.formats import FORMATS
from transfer.records.tfrecords import read_records
from transfer.serving.predict import predict
from transfer.serving.uploads import Upload, read_pixels
from transfer.workers.runners import LocalRunner

WAYS: tuple[Resize, ...] = ("squash", "crop", "pad")
WITHIN = {"litert_float16": 0.02, "litert_int8": 0.5}
"""By so much the formats that are not exact may differ from Keras at most."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of 3:1 in pictures, and with data/raw of them."""
    folder = tmp_path_factory.mktemp("long")
    for number, pixels in enumerate(images_of(24, 3, (31, 93))):
        (folder / f"pictures/{number % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"pictures/{number % 2}/{number:02}.png")
    obtain(folder / "pictures", folder / "raw")
    return folder


def _test_split(raw: Path, resize: Square) -> tuple[Spec, list[str], Pixels]:
    """Write records, and return their description and the images and pixels of the test split."""
    records = {name: raw / resize / name for name in ("train", "validation", "test")}
    settings = Settings(Split(0.25, 0.25), SIZE, None, 1, Duplicates(4, 0.999, 0.05), "none", resize)
    spec = preprocess(raw / "raw", records, settings, LocalRunner(), raw / resize / "quarantine.csv").spec
    (batch,) = read_records(records["test"], spec, 100)
    return spec, list(batch.images), batch.pixels


@pytest.mark.parametrize("resize", WAYS)
def test_what_is_predicted_of_a_long_image_is_what_keras_says_of_its_record(
    resize: Resize, raw: Path, exported: Exported
) -> None:
    spec, images, pixels = _test_split(raw, resize)
    expected = exported.keras(pixels)
    assert np.ptp(expected, axis=0).max() > 0.1  # or any other image would do
    for name in FORMATS:
        classifier = open_classifier(exported.folder, name)
        classifier.contract = replace(classifier.contract, resize=spec.resize)
        paths = [str(raw / "pictures" / image) for image in images]
        said = np.array([prediction.probabilities for prediction in predict(classifier, paths, 4)])
        np.testing.assert_allclose(said, classifier.probabilities(pixels), atol=1e-5)
        np.testing.assert_allclose(said, expected, atol=WITHIN.get(name, 1e-5))


@pytest.mark.parametrize("resize", WAYS)
def test_an_upload_is_its_record(resize: Resize, raw: Path, exported: Exported) -> None:
    spec, images, pixels = _test_split(raw, resize)
    contract = replace(exported.contract, resize=spec.resize)
    uploads = [Upload(image, (raw / "pictures" / image).read_bytes()) for image in images]
    np.testing.assert_array_equal([read_pixels(upload, contract, 10_000) for upload in uploads], pixels)


def test_each_way_is_another(raw: Path, exported: Exported) -> None:
    squash, crop, pad = (exported.keras(_test_split(raw, resize)[2]) for resize in WAYS)
    for one, other in ((squash, crop), (squash, pad), (crop, pad)):
        assert np.abs(one - other).max() > 0.1


def test_images_of_one_shape_are_squashed_where_nothing_is_said(raw: Path) -> None:
    (spec, _, pixels), (_, _, squashed) = _test_split(raw, "auto"), _test_split(raw, "squash")
    assert spec.resize == "squash"
    np.testing.assert_array_equal(pixels, squashed)
