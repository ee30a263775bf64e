"""Tests of transfer/dataset/duplicates.py: copies are found, images of one kind are not taken for copies."""

import io
from collections.abc import Callable

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits, load_sample_image

from transfer.core.packages import file_in, find
from transfer.core.params import Duplicates
from transfer.core.spec import Conversion
from transfer.dataset import duplicates
from transfer.dataset.decode import decode
from transfer.dataset.duplicates import Same, _close_pairs, find_same, perceptual_hashes

DEFAULT = Duplicates(4, 0.999, 0.05)


def _photographs() -> list[Image.Image]:
    """Twelve parts of the two photographs that come with scikit-learn."""
    pictures = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    boxes = [(x, y, x + 200, y + 200) for x in (0, 200, 400) for y in (0, 200)]
    return [picture.crop(box) for picture in pictures for box in boxes]


def _same(images: list[bytes], params: Duplicates = DEFAULT) -> Same:
    decoded = [decode(data, 64, 3, Conversion()) for data in images]
    thumbnails = np.stack([image.thumbnail for image in decoded])
    return find_same([image.content for image in decoded], perceptual_hashes(thumbnails), thumbnails, params)


def _encoded(image: Image.Image, kind: str = "PNG", quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG 90": lambda image: _encoded(image, "JPEG", 90),
    "BMP": lambda image: _encoded(image, "BMP"),
    "smaller": lambda image: _encoded(image.resize((160, 160), Image.Resampling.LANCZOS)),
    "half": lambda image: _encoded(image.resize((100, 100), Image.Resampling.BILINEAR), "JPEG", 95),
    "darker": lambda image: _encoded(ImageEnhance.Brightness(image).enhance(0.9)),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_alike_and_nothing_else_is(kind: str) -> None:
    originals = _photographs()
    same = _same([_encoded(image) for image in originals] + [COPIES[kind](image) for image in originals])
    count = len(originals)
    assert list(same.identical) == list(range(2 * count))
    assert list(same.alike[:count]) == list(range(count))
    assert list(same.alike[count:]) == list(range(count))


def test_the_same_bytes_are_identical() -> None:
    one, other = (_encoded(image) for image in _photographs()[:2])
    same = _same([one, other, one, one])
    assert list(same.identical) == [0, 1, 0, 0]
    assert list(same.alike) == [0, 1, 0, 0]


def test_a_distance_of_null_looks_for_the_same_bytes_only() -> None:
    image = _photographs()[0]
    png, jpeg = _encoded(image), _encoded(image, "JPEG", 95)
    assert list(_same([png, jpeg, png], Duplicates(None, 0.999, 0.05)).alike) == [0, 1, 0]
    assert list(_same([png, jpeg, png]).alike) == [0, 0, 0]


def test_flat_images_are_alike_only_where_their_files_are() -> None:
    colours = [(200, 60, 40), (201, 60, 40), (40, 200, 60), (92, 92, 92), (200, 60, 40)]
    images = [_encoded(Image.new("RGB", (40, 40), colour)) for colour in colours]
    assert list(_same(images).alike) == [0, 1, 2, 3, 0]


def _digits(width: int, canvas: int) -> list[bytes]:
    """Different digits in the middle of black images."""
    images = []
    for digit in load_digits().images[:200]:
        image = Image.new("L", (canvas, canvas))
        small = Image.fromarray((digit * 15.9).astype(np.uint8)).resize((width, width))
        image.paste(small, ((canvas - width) // 2, (canvas - width) // 2))
        images.append(_encoded(image))
    return images


def _spots(size: int = 256) -> list[bytes]:
    """Images of one thing, as by a fixed camera, with noise, and a spot in another place, which is all that matters."""
    random = np.random.default_rng(0)
    thing = Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    rows, columns = np.mgrid[:size, :size]
    images = []
    for number in range(196):
        row, column = 24 + number // 14 * 16, 24 + number % 14 * 16
        pixels = 0.7 * np.asarray(thing) + 30 * ((rows - row) ** 2 + (columns - column) ** 2 < 49)
        pixels += random.normal(0, 3, pixels.shape)
        images.append(_encoded(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))))
    return images


def _dark(size: int = 64) -> list[bytes]:
    """Images of next to nothing, with the noise of a sensor."""
    random = np.random.default_rng(0)
    return [_encoded(Image.fromarray(random.normal(6, 2, (size, size)).round().astype(np.uint8))) for _ in range(200)]


DIFFERENT: dict[str, tuple[Callable[[], list[bytes]], int]] = {
    "digits": (lambda: _digits(28, 28), 0),
    "small digits": (lambda: _digits(12, 256), 0),
    "spots": (_spots, 12),  # where the thing itself has a sharp edge
    "dark": (_dark, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DIFFERENT)
def test_images_that_share_their_background_are_not_taken_for_copies(kind: str) -> None:
    make, most = DIFFERENT[kind]
    _, counts = np.unique(_same(make()).alike, return_counts=True)
    assert counts[counts > 1].sum() <= most


def test_the_same_shape_in_another_colour_is_another_image() -> None:
    images = []
    for colour in ((255, 0, 0), (0, 130, 0)):
        image = Image.new("RGB", (64, 64), "black")
        image.paste(colour, (10, 20, 40, 50))
        images.append(_encoded(image))
    assert list(_same(images).alike) == [0, 1]


def test_no_solar_cell_is_taken_for_a_copy_of_another() -> None:
    folder = file_in(find("elpv-dataset", "1.0.0.post1"), "elpv_dataset/data/images")
    decoded = [decode(path.read_bytes(), 32, 1, Conversion()) for path in sorted(folder.glob("*.png"))[:600]]
    thumbnails = np.stack([image.thumbnail for image in decoded])
    hashes = perceptual_hashes(thumbnails)
    close = {tuple(pair) for pairs in _close_pairs(hashes, 4) for pair in pairs.tolist()}
    assert len(close) > 10  # the hash alone would take them for copies
    same = find_same([image.content for image in decoded], hashes, thumbnails, DEFAULT)
    assert list(same.alike) == list(range(600))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_hash_is_that_of_imagehash(channels: int) -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (60, 6, 6, channels), np.uint8).repeat(6, axis=1).repeat(6, axis=2)
    thumbnails = np.ascontiguousarray(coarse[:, :32, :32])
    expected = []
    for thumbnail in thumbnails:
        bits = imagehash.phash(Image.fromarray(thumbnail[..., 0] if channels == 1 else thumbnail)).hash
        expected.append(int.from_bytes(np.packbits(bits).tobytes()))
    assert perceptual_hashes(thumbnails).tolist() == expected


HASHES = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None)
@given(HASHES, st.integers(0, 16), st.sampled_from([0, 1000]), st.data())
def test_all_close_pairs_are_found_and_no_others(
    values: list[int], distance: int, many: int, data: st.DataObject
) -> None:
    near = [value ^ (1 << data.draw(st.integers(0, 63))) for value in values[:10]]
    hashes: NDArray[np.uint64] = np.array(values + near, np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "MANY", many)
        found = {tuple(sorted(pair)) for pairs in _close_pairs(hashes, distance) for pair in pairs.tolist()}
    expected = {
        (i, j)
        for j in range(len(hashes))
        for i in range(j)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= distance
    }
    assert found == expected
