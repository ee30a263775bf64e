"""Tests of transfer/export/parity.py: a classifier that differs from Keras is found."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import write_records
from tests.transfer.conftest import CLASSES, SIZE, Exported, images_of, small_network
from transfer.core.arrays import Pixels
from transfer.core.errors import UserError
from transfer.core.spec import Spec
from transfer.export.classifiers import Classifier, open_classifier
from transfer.export.contract import Contract
from transfer.export.formats import FORMATS
from transfer.export.parity import Parity, Reference, check, compare, reference, size
from transfer.records.tfrecords import Example

IMAGES = 40


@pytest.fixture
def expected(tmp_path: Path) -> Reference:
    """What Keras says of 40 grey images in records, in eight views."""
    records = tmp_path / "records/validation"
    examples = [Example(f"{i}", pixels, 0, np.nan, 1.0) for i, pixels in enumerate(images_of(IMAGES, 1))]
    write_records(examples, records, SIZE * SIZE)
    spec = Spec(CLASSES, None, "dihedral", SIZE, 1, {"validation": IMAGES})
    whole, contract = small_network(1, 8)
    return reference(whole, contract, records, spec)


def test_the_reference_is_keras_in_all_views_calibrated(expected: Reference, exported_grey: Exported) -> None:
    np.testing.assert_allclose(expected.probabilities, exported_grey.keras(images_of(IMAGES, 1)), atol=1e-6)


def test_a_faithful_format_is_close_in_every_figure(expected: Reference, exported_grey: Exported) -> None:
    path = exported_grey.folder / "openvino/model.xml"
    found = compare(open_classifier(path), path, expected)
    assert found.largest_difference < 1e-5
    assert 0 < found.mean_difference <= found.largest_difference
    assert found.agreement == 1
    assert found.resize_difference is not None
    assert 0 < found.resize_difference < 0.1
    assert found.bytes == sum(path.with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin"))
    check(found, "openvino")
    lite = exported_grey.folder / "litert/float32.tflite"
    assert compare(open_classifier(lite), lite, expected).resize_difference is None


class Altered:
    """A classifier that says something else of some images."""

    def __init__(self, inner: Classifier, by: float, images: int) -> None:
        self.contract: Contract = replace(inner.contract, resizes=False)
        self._inner, self._by, self._left = inner, by, images

    def probabilities(self, images: Pixels) -> np.ndarray:
        result = self._inner.probabilities(images).astype(np.float64)
        count = min(len(images), self._left)
        self._left -= count
        result[:count] = (1 - self._by) * result[:count] + self._by * np.roll(result[:count], 1, axis=1)
        return result.astype(np.float32)


@pytest.mark.parametrize(("by", "images"), [(0.1, 1), (1.0, 40)])
def test_a_format_that_says_something_else_is_refused(
    by: float, images: int, expected: Reference, exported_grey: Exported
) -> None:
    path = exported_grey.folder / "model.onnx"
    found = compare(Altered(open_classifier(path), by, images), path, expected)
    with pytest.raises(UserError, match=r"^its probabilities differ from Keras by .* at most 0\.0001 is acc"):
        check(found, "onnx")


def test_a_format_that_gives_nan_for_one_image_is_refused(expected: Reference, exported_grey: Exported) -> None:
    path = exported_grey.folder / "model.onnx"
    with pytest.raises(UserError, match=r"^its probabilities for 1 of 40 images are not finite"):
        compare(Altered(open_classifier(path), np.nan, 1), path, expected)


class Constant:
    """A classifier that says the same of every image."""

    def __init__(self, inner: Classifier, says: list[float]) -> None:
        self.contract: Contract = replace(inner.contract, resizes=False)
        self._says = says

    def probabilities(self, images: Pixels) -> np.ndarray:
        return np.tile(np.array(self._says, np.float32), (len(images), 1))


def test_what_is_as_good_as_a_tie_may_fall_either_way(expected: Reference, exported_grey: Exported) -> None:
    path = exported_grey.folder / "model.onnx"
    classifier = Constant(open_classifier(path), [0.5, 0.3, 0.2])
    said = np.tile([0.1, 0.2, 0.7], (IMAGES, 1))
    said[:30] = [0.46, 0.52, 0.02]  # nearly as likely, and not what the classifier says
    said[30:38] = [0.9, 0.1, 0.0]
    found = compare(classifier, path, replace(expected, probabilities=said))
    assert found.agreement == pytest.approx(8 / 40)
    assert found.agreement_where_sure == pytest.approx(8 / 10)
    ties = replace(expected, probabilities=said[:1].repeat(IMAGES, axis=0))
    assert compare(classifier, path, ties).agreement_where_sure == 1


GOOD = Parity(1, 0.0, 0.0, 1.0, 1.0, resize_difference=None)


def test_each_tolerance_is_held_and_no_more_is_asked() -> None:
    for name, kind in FORMATS.items():
        check(
            replace(
                GOOD,
                largest_difference=1.0,
                mean_difference=kind.difference,
                agreement=0.5,
                agreement_where_sure=kind.agreement,
            ),
            name,
        )
        with pytest.raises(UserError, match="its probabilities differ from Keras by"):
            check(replace(GOOD, mean_difference=kind.difference * 1.01), name)
        with pytest.raises(UserError, match=r"it agrees with Keras on only \d+\.\d\d% of the images"):
            check(replace(GOOD, agreement_where_sure=kind.agreement - 0.001), name)
    check(replace(GOOD, resize_difference=0.1), "onnx")
    for wrong in (0.11, np.nan):
        with pytest.raises(UserError, match=r"it does not resize images as Pillow does.* at most 0\.1 is"):
            check(replace(GOOD, resize_difference=wrong), "onnx")


def test_a_figure_has_the_digits_that_show_what_is_wrong() -> None:
    with pytest.raises(UserError, match=r"by 0\.1004 on average; at most 0\.1 is accepted$"):
        check(replace(GOOD, mean_difference=0.10042), "litert_int8")
    with pytest.raises(UserError, match=r"by 0\.35 on average"):
        check(replace(GOOD, mean_difference=0.35042), "litert_int8")
    with pytest.raises(UserError, match=r"on only 94\.96% of the images that Keras is sure of; at least 95%"):
        check(replace(GOOD, agreement_where_sure=0.9496), "litert_int8")


def test_figures_have_two_digits_and_what_is_tolerated() -> None:
    figures = replace(GOOD, largest_difference=1.23456e-5, agreement=0.98765).figures("litert_int8")
    assert figures == {
        "bytes": 1,
        "largest_difference": 1.2e-5,
        "mean_difference": 0.0,
        "resize_difference": None,
        "agreement": 0.9877,
        "agreement_where_sure": 1.0,
        "tolerated_mean_difference": 0.1,
        "tolerated_agreement": 0.95,
    }


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/one").write_bytes(b"12345")
    (tmp_path / "a/b/two").write_bytes(b"123")
    assert size(tmp_path / "a") == 8
    assert size(tmp_path / "a/one") == 5
