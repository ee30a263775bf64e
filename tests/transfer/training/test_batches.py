"""Tests of transfer/training/batches.py."""

import numpy as np

from transfer.training.batches import ViewBatches


def _batches(seed: int | None, images: int = 10, views: int = 3) -> ViewBatches:
    """The value of an image is 10 times its number, plus the number of the view."""
    numbers = 10.0 * np.arange(images)[:, None]
    targets = np.eye(2, dtype=np.float32)[np.arange(images) % 2]
    return ViewBatches([numbers + view for view in range(views)], targets, 4, seed)


def _epoch(batches: ViewBatches, number: int = 0) -> np.ndarray:
    return np.concatenate([inputs for inputs, _ in batches.epoch(number)])[:, 0]


def test_an_epoch_has_every_image_once_with_its_label() -> None:
    batches = _batches(seed=1)
    assert len(batches) == 3
    values = _epoch(batches)
    assert sorted(values // 10) == list(range(10))
    labels = np.concatenate([targets for _, targets in batches.epoch()])
    np.testing.assert_array_equal(np.argmax(labels, axis=1), (values // 10) % 2)


def test_epochs_differ_in_order_and_views_and_all_views_come_up() -> None:
    batches = _batches(seed=1)
    epochs = [_epoch(batches, number) for number in range(20)]
    assert not np.array_equal(epochs[0], epochs[1])
    assert set(np.concatenate(epochs)) == {10 * image + view for image in range(10) for view in range(3)}


def test_the_seed_and_the_epoch_fix_the_batches() -> None:
    one, other, different = _batches(seed=5), _batches(seed=5), _batches(seed=6)
    np.testing.assert_array_equal(_epoch(one, 1), _epoch(other, 1))
    assert not np.array_equal(_epoch(one, 1), _epoch(different, 1))


def test_without_a_seed_images_come_in_order_in_the_first_view() -> None:
    batches = _batches(seed=None)
    np.testing.assert_array_equal(_epoch(batches, 1), 10.0 * np.arange(10))
    inputs, _ = next(batches.epoch())
    assert inputs.dtype == np.float32


def test_training_is_fed_epoch_after_epoch_and_validation_one() -> None:
    batches = _batches(seed=1)
    assert batches.steps == 3
    fed = np.concatenate([inputs for inputs, _ in batches.feed(1).take(6).as_numpy_iterator()])[:, 0]
    np.testing.assert_array_equal(fed, np.concatenate([_epoch(batches, 1), _epoch(batches, 2)]))
    validation = _batches(seed=None)
    assert validation.steps is None
    for _ in range(2):  # each reader begins anew
        assert len(list(validation.feed().as_numpy_iterator())) == 3


def test_the_end_of_an_epoch_waits_for_nothing() -> None:
    """The tuner of tf.data sleeps twice as long each time, and the end of an iterator waits for it."""
    assert not _batches(seed=1).feed().options().autotune.enabled
