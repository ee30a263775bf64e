"""Tests of transfer/training/batches.py."""

import numpy as np

from transfer.training.batches import ViewBatches


def _batches(seed: int | None, images: int = 10, views: int = 3) -> ViewBatches:
    """The value of an image is 10 times its number, plus the number of the view."""
    numbers = 10.0 * np.arange(images)[:, None]
    targets = np.eye(2, dtype=np.float32)[np.arange(images) % 2]
    return ViewBatches([numbers + view for view in range(views)], targets, 4, seed)


def _epoch(batches: ViewBatches) -> np.ndarray:
    return np.concatenate([batches[i][0] for i in range(len(batches))])[:, 0]


def test_an_epoch_has_every_image_once_with_its_label() -> None:
    batches = _batches(seed=1)
    assert len(batches) == 3
    values = _epoch(batches)
    assert sorted(values // 10) == list(range(10))
    labels = np.concatenate([batches[i][1] for i in range(len(batches))])
    np.testing.assert_array_equal(np.argmax(labels, axis=1), (values // 10) % 2)


def test_epochs_differ_in_order_and_views_and_all_views_come_up() -> None:
    batches = _batches(seed=1)
    epochs = []
    for _ in range(20):
        epochs.append(_epoch(batches))
        batches.on_epoch_end()
    assert not np.array_equal(epochs[0], epochs[1])
    assert set(np.concatenate(epochs)) == {10 * image + view for image in range(10) for view in range(3)}


def test_the_seed_and_the_epoch_fix_the_batches() -> None:
    one, other, different = _batches(seed=5), _batches(seed=5), _batches(seed=6)
    for batches in (one, other, different):
        batches.on_epoch_end()
    np.testing.assert_array_equal(_epoch(one), _epoch(other))
    assert not np.array_equal(_epoch(one), _epoch(different))


def test_without_a_seed_images_come_in_order_in_the_first_view() -> None:
    batches = _batches(seed=None)
    batches.on_epoch_end()
    np.testing.assert_array_equal(_epoch(batches), 10.0 * np.arange(10))
    assert batches[0][0].dtype == np.float32
