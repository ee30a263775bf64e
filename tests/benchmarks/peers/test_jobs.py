"""Tests of benchmarks/peers/jobs.py: what a peer sees, and when."""

import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.jobs import Array, Job, Pixels, Split, Trained, predictions_file, read_split, rgb, run_job
from benchmarks.peers.jobs import write_pixels as write
from transfer.core.files import read_json
from transfer.records.tfrecords import normalise

RANDOM = np.random.default_rng(0)


def images(count: int, channels: int = 1) -> Pixels:
    return RANDOM.integers(0, 256, (count, 4, 4, channels), np.uint8)


def job(folder: Path) -> Job:
    return Job(str(folder / "arrays"), "weights", str(folder / "output"), seed=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_normalised_as_the_pipeline_does(channels: int) -> None:
    pixels = images(3, channels)
    np.testing.assert_array_equal(rgb(pixels), normalise(pixels))


@pytest.mark.parametrize(("scale", "epochs"), [(1.0, 30), (0.5, 15), (0.01, 1), (0.0, 1), (2.0, 60)])
def test_a_recipe_is_scaled_to_whole_epochs(scale: float, epochs: int) -> None:
    assert Job("", "", "", 1, scale).epochs(30) == epochs


def test_a_split_comes_back_as_it_was_written(tmp_path: Path) -> None:
    pixels, labels = images(3), np.array([0, 1, 1])
    write(pixels, labels, tmp_path, "train")
    split = read_split(tmp_path, "train")
    np.testing.assert_array_equal(split.pixels, pixels)
    np.testing.assert_array_equal(split.labels, labels)


def test_a_peer_is_trained_before_the_test_images_are_read(tmp_path: Path) -> None:
    arrays, seen = tmp_path / "arrays", []
    for name in ("train", "validation"):
        write(images(2), np.array([0, 1]), arrays, name)

    def train(given: Job, split: Split, validation: Split) -> Trained:
        assert not (arrays / "test.pixels.npy").exists()
        time.sleep(0.02)
        write(images(3), None, arrays, "test")

        def predict(pixels: Pixels) -> Array:
            seen.append(len(pixels))
            return np.full((len(pixels), 2), 0.5, np.float32)

        return Trained(predict, {"best_epoch": 7})

    run_job(train, job(tmp_path))
    assert seen == [2, 3]
    assert not (arrays / "test.labels.npy").exists()
    output = tmp_path / "output"
    assert np.load(predictions_file(output, "test")).shape == (3, 2)
    cost = read_json(output / "cost.json")
    assert cost["best_epoch"] == 7
    assert cost["seconds"] >= 0.02
    assert cost["peak_memory_bytes"] > 0
