"""Tests of benchmarks/accelerator.py: it trains the real head, and keeps what was measured elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import accelerator
from benchmarks.accelerator import device, main, random_batches
from transfer.core.files import read_json, write_json


def test_batches_have_the_form_of_cached_activations() -> None:
    batches = random_batches((2, 3), 40, 0)
    inputs, targets = next(batches.epoch())
    assert (inputs.shape, targets.shape, len(batches)) == ((32, 2, 3), (32, 2), 2)
    assert inputs.dtype == np.float32
    assert 0 <= inputs.min() < inputs.max() <= 1
    assert set(batches.targets.sum(axis=1)) == {1.0}
    in_order = random_batches((2, 3), 40, None)
    np.testing.assert_array_equal(next(in_order.epoch())[1], batches.targets)


def test_a_devices_figures_stand_beside_those_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "accelerator.json"
    write_json({"H200, jax": {"frozen_pass_images_per_second": 7.0}}, path)
    for name, value in {"RESULTS": path, "IMAGE_SIZE": 32, "TRUNK_BATCH": 4, "CUTS": ("top", "block6")}.items():
        monkeypatch.setattr(accelerator, name, value)
    monkeypatch.setitem(accelerator.IMAGES, device()[0], 40)
    main()
    results = read_json(path)
    here = f"{device()[1]}, tensorflow"
    assert list(results) == ["H200, jax", here]
    assert results["H200, jax"] == {"frozen_pass_images_per_second": 7.0}
    assert results[here]["frozen_pass_images_per_second"] > 0
    trained = results[here]["training"]
    assert list(trained) == ["top", "block6"]
    assert trained["block6"]["images_per_second"] > 0
    assert trained["block6"]["first_epoch_s"] > 40 / trained["block6"]["images_per_second"]  # it builds the graph
