"""Tests of transfer/training/augmentation.py."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from transfer.core.params import Augmentation
from transfer.records.views import apply_view
from transfer.training.augmentation import OFF, RAND_AUGMENT_FACTOR, Augmenter, _Draws, _RandAugment, turn

SIZE, IMAGES = 16, 24
ONE_IMAGE = {"rotation": 0.1, "crop": 0.4, "brightness": 0.4, "contrast": 0.6, "rand_augment": 2}
MIXED = {"mixup": 0.5, "cutmix": 0.5}


def _only(**amounts: Any) -> Augmentation:
    return dataclasses.replace(OFF, **amounts)


def _images(kind: str = "noise") -> np.ndarray:
    """Return images float32 in 0–1: noise, each of one colour, or black."""
    random = np.random.default_rng(0)
    if kind == "noise":
        return random.random((IMAGES, SIZE, SIZE, 3), np.float32)
    flat = random.random((IMAGES, 1, 1, 3), np.float32) * (kind == "flat")
    return np.ascontiguousarray(np.broadcast_to(flat, (IMAGES, SIZE, SIZE, 3)))


def _mapped(function: Callable[..., object], images: np.ndarray, seeds: np.ndarray, parallel: int = 2) -> np.ndarray:
    dataset = tf.data.Dataset.from_tensor_slices((images, seeds.astype(np.int32)))
    return np.stack(list(dataset.map(function, num_parallel_calls=parallel).as_numpy_iterator()))


def _changed(augmentation: Augmentation, images: np.ndarray, views: int = 1, parallel: int = 2) -> np.ndarray:
    """Change image i with seed i, in tf.data."""
    return _mapped(Augmenter(augmentation, views).image, images, np.arange(len(images)), parallel)


@pytest.mark.parametrize("kind", ["noise", "flat", "black"])
@pytest.mark.parametrize("name", ONE_IMAGE)
def test_each_change_keeps_shape_and_range_and_differs_from_image_to_image(name: str, kind: str) -> None:
    images = _images(kind)
    changed = _changed(_only(**{name: ONE_IMAGE[name]}), images)
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert np.all((changed >= 0) & (changed <= 1))  # false for NaN
    if kind == "noise":
        assert not np.array_equal(changed, images)
        same = _changed(_only(**{name: ONE_IMAGE[name]}), np.repeat(images[:1], IMAGES, axis=0))
        assert len({image.tobytes() for image in same}) > IMAGES // 3


@pytest.mark.parametrize("name", ONE_IMAGE)
def test_the_seed_alone_decides_whatever_runs_in_parallel_and_in_which_order(name: str) -> None:
    augmenter = Augmenter(_only(**{name: ONE_IMAGE[name]}), views=8)
    images, seeds = _images(), np.arange(IMAGES) * 1000 + 7
    one_by_one = _mapped(augmenter.image, images, seeds, parallel=1)
    np.testing.assert_array_equal(_mapped(augmenter.image, images, seeds, parallel=4), one_by_one)
    backwards = _mapped(Augmenter(_only(**{name: ONE_IMAGE[name]}), views=8).image, images[::-1], seeds[::-1])
    np.testing.assert_array_equal(backwards[::-1], one_by_one)


def test_what_is_off_leaves_every_bit() -> None:
    images = _images()
    np.testing.assert_array_equal(_changed(OFF, images), images)
    pixels, labels = Augmenter(OFF, 1).batch(tf.constant(images), tf.one_hot([0] * IMAGES, 2), tf.constant(1))
    np.testing.assert_array_equal(pixels, images)
    np.testing.assert_array_equal(labels, np.eye(2)[[0] * IMAGES])


@pytest.mark.parametrize("view", range(8))
def test_views_are_those_that_are_cached(view: int) -> None:
    images = _images()
    turned = np.stack([turn(tf.constant(image), tf.constant(view)) for image in images])
    np.testing.assert_array_equal(turned, apply_view(images, view))


@pytest.mark.parametrize("views", [1, 2, 8])
def test_every_valid_view_of_an_image_comes_up_and_no_other(views: int) -> None:
    """One view, for a dataset without a symmetry, is the image as it is: never flipped."""
    image = _images()[:1]
    seen = {row.tobytes() for row in _changed(OFF, np.repeat(image, 120, axis=0), views)}
    assert seen == {np.ascontiguousarray(apply_view(image, view)[0]).tobytes() for view in range(views)}


def test_brightness_and_contrast_stay_within_what_is_wanted() -> None:
    flat = np.full((200, 4, 4, 3), 0.5, np.float32)
    shifts = _changed(_only(brightness=0.2), flat)[:, 0, 0, 0] - 0.5
    assert -0.2 <= shifts.min() < -0.15
    assert 0.15 < shifts.max() <= 0.2
    striped = np.tile(np.array([0.4, 0.6], np.float32)[:, None], (200, 4, 2, 3))
    spread = np.ptp(_changed(_only(contrast=0.5), striped), axis=(1, 2, 3)) / 0.2
    assert 0.5 - 1e-6 <= spread.min() < 0.6
    assert 1.4 < spread.max() <= 1.5 + 1e-6


def test_a_crop_shows_a_part_of_the_image_at_any_place() -> None:
    """Pixels that hold their own row and column tell which part a crop shows."""
    rows, columns = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    image = np.stack([rows, columns, rows], axis=-1).astype(np.float32)[None] / (SIZE - 1)
    crops = _changed(_only(crop=0.4), np.repeat(image, 300, axis=0))
    sides = crops[:, -1, 0, 0] - crops[:, 0, 0, 0]
    np.testing.assert_allclose(sides, crops[:, 0, -1, 1] - crops[:, 0, 0, 1], atol=1e-5)  # a square
    assert 0.6 - 1e-5 <= sides.min() < 0.63
    assert 0.97 < sides.max() <= 1 + 1e-5
    top, left = crops[:, 0, 0, 0], crops[:, 0, 0, 1]
    assert top.max() > 0.3
    assert left.max() > 0.3
    assert abs(np.corrcoef(top / (1.001 - sides), left / (1.001 - sides))[0, 1]) < 0.2


def test_rand_augment_is_that_of_keras_with_the_draws_given() -> None:
    """Keras computes all operations and chooses; here only those drawn are computed."""
    layer = _RandAugment((0, 1), 2, RAND_AUGMENT_FACTOR)
    chosen = set()
    for seed in range(40):
        image = tf.constant(_images()[seed % IMAGES][None])
        drawn = layer.get_random_transformation(image, seed=_Draws(tf.constant(seed), 0))
        chosen |= set(drawn["layer_idxes"].numpy().tolist())
        expected = keras.layers.RandAugment.transform_images(layer, image, drawn)
        np.testing.assert_array_equal(layer.transform_images(image, drawn), expected)
    assert chosen == set(range(11))


def test_rand_augment_turns_no_further_than_its_paper() -> None:
    layer = Augmenter(_only(rand_augment=1), 1)._changes["rand_augment"]
    image = tf.constant(_images()[:1])
    drawn = [layer.get_random_transformation(image, seed=_Draws(tf.constant(seed), 0)) for seed in range(60)]
    angles = [float(draw["transforms"]["random_rotation"]["angle"][0]) for draw in drawn]
    assert -30 <= min(angles) < -20
    assert 20 < max(angles) <= 30
    shifts = {int(draw["transforms"]["random_posterization"]["shift_factor"][0]) for draw in drawn}
    assert shifts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", MIXED)
def test_mixed_labels_are_the_shares_of_the_mixed_images(name: str) -> None:
    """Images of class 1 are white and of class 0 black, so that the mean of a mixed image is its share of class 1."""
    labels = np.arange(IMAGES) % 2
    images = np.broadcast_to(labels[:, None, None, None], (IMAGES, 64, 64, 3)).astype(np.float32)
    augmenter = Augmenter(_only(**{name: MIXED[name]}), 1)
    one_hot = tf.constant(np.eye(2, dtype=np.float32)[labels])
    pixels, mixed = augmenter.batch(tf.constant(images), one_hot, tf.constant(3))
    np.testing.assert_allclose(np.sum(mixed, axis=1), 1, atol=1e-6)
    # CutMix draws real-valued boxes: on 64 pixels their area differs from that of whole pixels by up to 3 %.
    np.testing.assert_allclose(np.mean(pixels, axis=(1, 2, 3)), mixed[:, 1], atol=1e-5 if name == "mixup" else 0.035)
    assert np.sum((mixed[:, 1] > 0.05) & (mixed[:, 1] < 0.95)) >= 3
    again = augmenter.batch(tf.constant(images), one_hot, tf.constant(3))
    np.testing.assert_array_equal(pixels, again[0])
    assert not np.array_equal(pixels, augmenter.batch(tf.constant(images), one_hot, tf.constant(4))[0])


def test_the_parameter_of_the_beta_distribution_is_that_of_the_paper() -> None:
    """Beta(a, a) has variance 1 / (4 (2 a + 1)); small parameters leave most images almost unmixed."""
    images = tf.zeros((4000, 2, 2, 3))
    for name, alpha in (("mixup", 0.2), ("mixup", 4.0), ("cutmix", 4.0)):
        (layer,) = Augmenter(_only(**{name: alpha}), 1)._mixers
        seed = _Draws(tf.constant(5), 1)
        if name == "mixup":
            share = layer.get_random_transformation(images, seed=seed)["mix_weight"]
        else:
            share = layer._generate_mix_weight(4000, seed)
        assert np.var(share) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_of_two_ways_of_mixing_each_batch_gets_one() -> None:
    """MixUp leaves shades of grey, CutMix black and white."""
    images = tf.constant(np.broadcast_to((np.arange(IMAGES) % 2)[:, None, None, None], (IMAGES, 8, 8, 3)), tf.float32)
    augmenter, one_hot = Augmenter(_only(mixup=1.0, cutmix=1.0), 1), tf.one_hot(np.arange(IMAGES) % 2, 2)
    grey = [
        bool(np.any((pixels > 0.01) & (pixels < 0.99)))
        for pixels in (np.array(augmenter.batch(images, one_hot, tf.constant(seed))[0]) for seed in range(40))
    ]
    assert 10 <= sum(grey) <= 30
