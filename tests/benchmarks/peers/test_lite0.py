"""Tests of benchmarks/peers/lite0.py, against the Keras network; where PyTorch is, as in `make bench NAME=peers`."""

from dataclasses import astuple

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from benchmarks.peers.runs import packaged_file
from transfer.networks.backbones import efficientnet_lite

torch = pytest.importorskip("torch")
lite0 = pytest.importorskip("benchmarks.peers.lite0")


def test_the_table_of_stages_is_that_of_the_pipeline() -> None:
    assert tuple(map(astuple, efficientnet_lite.STAGES)) == lite0.STAGES


@pytest.mark.parametrize("size", [224, 96, 75])  # 75: odd, and odd again after the stem
def test_logits_are_those_of_keras(size: int) -> None:
    photographs = [image[:size, :size] for image in load_sample_images().images]
    pixels = np.stack([*photographs, np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)])
    pixels = pixels.astype(np.float32) / 255
    model = efficientnet_lite.build("efficientnet_lite0", size)
    classifier = efficientnet_lite.load_packaged(model, packaged_file())
    expected = np.asarray(model(pixels)).mean(axis=(1, 2)) @ classifier[:-1] + classifier[-1]
    network = lite0.Lite0().eval()
    lite0.load(network, packaged_file())
    with torch.inference_mode():
        received = network(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    assert np.ptp(expected) > 5  # logits that say something
    np.testing.assert_allclose(received, expected, atol=1e-3)


def test_a_classifier_of_other_classes_stays_as_it_is() -> None:
    network = lite0.Lite0(classes=2)
    before = network._fc.weight.clone()
    lite0.load(network, packaged_file())
    assert torch.equal(network._fc.weight, before)


def test_a_dropped_path_leaves_the_mean_as_it_is() -> None:
    torch.manual_seed(0)
    block = lite0.Block(8, 8, 3, 1, 6, drop_path=0.25)
    x = torch.ones(20_000, 8, 1, 1)
    dropped = block.train()._dropped(x)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(block.eval()._dropped(x), x)


def test_paths_are_dropped_more_often_the_deeper_they_lie() -> None:
    drops = [block.drop_path for block in lite0.Lite0(2, drop_path=0.2)._blocks]
    assert drops == pytest.approx([0.2 * i / 16 for i in range(16)])
