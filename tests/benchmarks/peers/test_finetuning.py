"""Tests of benchmarks/peers/finetuning.py; where PyTorch is, as in `make bench NAME=peers`."""

import copy
import math

import numpy as np
import pytest

from benchmarks.peers.jobs import Job, rgb
from benchmarks.peers.runs import packaged_file
from tests.benchmarks.peers.colours import two_colours
from transfer.records.views import apply_view

torch = pytest.importorskip("torch")
finetuning = pytest.importorskip("benchmarks.peers.finetuning")


def test_the_rate_warms_up_and_falls_along_a_cosine_that_began_with_the_warm_up() -> None:
    rates = [finetuning.learning_rate(epoch, 30) for epoch in range(30)]
    assert rates[:5] == pytest.approx([1e-5, 2.8e-5, 4.6e-5, 6.4e-5, 8.2e-5])
    assert rates[5] == pytest.approx(1e-4 * (1 + math.cos(math.pi / 6)) / 2)
    assert rates[15] == pytest.approx(5e-5)
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_one_epoch_has_the_full_rate() -> None:
    assert finetuning.learning_rate(0, 1) == 1e-4


def test_the_average_begins_as_a_copy_and_slows_down() -> None:
    assert finetuning.average_decay(1) == 0
    assert finetuning.average_decay(1000) == pytest.approx(0.99)
    assert finetuning.average_decay(10**7) == 0.9998


def test_the_average_follows_weights_and_statistics() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    averaged = copy.deepcopy(network)
    before = averaged[0].weight.detach().clone()
    network[0].weight.data += 1
    network[1].running_mean += 4
    network[1].num_batches_tracked += 3
    finetuning.average(averaged, network, 0.75)
    torch.testing.assert_close(averaged[0].weight.data, before + 0.25)
    assert averaged[1].running_mean.tolist() == [1, 1]
    assert averaged[1].num_batches_tracked == 3


def test_views_are_those_of_the_pipeline() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 5, 5, 1), np.uint8)
    turned = finetuning.turned(finetuning.tensor(pixels), torch.arange(8))
    for view in range(8):
        expected = rgb(apply_view(pixels[view : view + 1], view))[0]
        np.testing.assert_array_equal(turned[view].permute(1, 2, 0).numpy(), expected)


def test_what_has_one_dimension_is_not_decayed() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    decayed, others = finetuning.make_optimizer(network).param_groups
    assert [values.ndim for values in decayed["params"]] == [2]
    assert [values.ndim for values in others["params"]] == [1, 1, 1]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0)


def test_the_recipe_learns_and_its_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "BATCH", 8)  # 96 steps, in which batch normalisation forgets natural images
    monkeypatch.setattr(finetuning, "LEARNING_RATE", 1e-3)
    torch.set_num_threads(1)  # where other processes run, threads mostly wait for one another
    job = Job("", str(packaged_file()), "", seed=1, epochs_scale=0.4)
    images, validation = two_colours(64, seed=0), two_colours(20, seed=1)
    trained = [finetuning.train(job, images, validation) for _ in range(2)]
    first, second = (model.predict(validation.pixels) for model in trained)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    assert np.mean(first.argmax(axis=1) == validation.labels) > 0.9
    assert trained[0].notes["epochs"] == 12
