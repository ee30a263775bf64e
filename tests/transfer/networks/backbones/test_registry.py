"""Tests of every backbone with random weights: cut, trained, saved, loaded, and compared with the uncut network."""

import math
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from transfer.core.arrays import Floats
from transfer.core.cuts import CUTS, FACTS, KERAS, SHORT_NAMES, resolve_cut
from transfer.core.errors import UserError
from transfer.inference.engines import check_agreement, make_engine
from transfer.networks.backbones.graph import default_cut, find_places
from transfer.networks.backbones.random_weights import noise_images
from transfer.networks.backbones.registry import BACKBONES, pretrained
from transfer.networks.fused import layers_above
from transfer.networks.model_files import ModelFiles, load, save
from transfer.networks.network import Architecture, Network, build, from_pixels, frozen_trunk
from transfer.training.loop import compiled
from transfer.training.recipe import Recipe, make_optimizer

SIZE = 32
SEED = 5  # another one than the weights are scaled with
PIXELS = noise_images(SIZE, 4, SEED)
ONE_HOT = np.eye(2, dtype=np.float32)[[0, 1, 1, 0]]
TOLERANCE = 1e-3  # of the largest value; float32 through up to 80 convolutions that amplify
TRAINED_ABOVE = dict.fromkeys(("efficientnetb1", "efficientnetb2", "efficientnetb3"), "block6")
"""Cuts of the training test where it is not the default: these differ from EfficientNet-B0 in size only."""


def _difference(received: Floats, expected: Floats) -> float:
    return float(np.max(np.abs(received - expected)) / np.max(np.abs(expected)))


QUICK = ("efficientnet_lite0", "mobilenetv2", "vit_base_patch16", "keras:MobileNetV3Small")
"""One of each module of `networks.backbones`, and one named by Keras; the others are left to `make test-all`."""
FAMILIES = (
    "DenseNet121",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV3Small",
    "NASNetMobile",
    "Xception",
)
"""A small one of each family of keras.applications without a short name, and one that preprocesses by itself."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))
        for name in (*CUTS, *(f"{KERAS}{family}" for family in FAMILIES))
    ],
)
def name(request: pytest.FixtureRequest) -> str:
    """One backbone after the other, with all the tests of one together."""
    return str(request.param)


@pytest.fixture(scope="module")
def size(name: str) -> int:
    return FACTS[name].smallest_size


@pytest.fixture(scope="module")
def pixels(size: int) -> Floats:
    return noise_images(size, 4, SEED)


@pytest.fixture(scope="module")
def backbone(name: str, size: int) -> keras.Model:
    return pretrained(name, "none", size, seed=3)[0]


def test_every_backbone_has_cuts_and_a_default() -> None:
    assert list(BACKBONES) == list(FACTS)
    for name, facts in FACTS.items():
        assert facts.cuts[-1] == "top"
        assert resolve_cut(name, "auto") in facts.cuts[:-1]
        assert resolve_cut(name, "input") == "input"
        assert facts.values_a_pixel <= facts.most_values


def test_every_network_of_keras_applications_is_a_backbone() -> None:
    networks = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {name.removeprefix(KERAS) for name in FACTS if name.startswith(KERAS)} == networks
    assert set(SHORT_NAMES.values()) < networks


def test_what_is_recorded_of_the_cuts_is_what_the_graph_has(name: str, backbone: keras.Model) -> None:
    """That of the other networks, too, if `python -m benchmarks.keras_networks` ran after the last change."""
    if (cuts := BACKBONES[name].cuts) is not None:
        assert tuple(cuts) == FACTS[name].cuts
        return
    facts, places = FACTS[f"{KERAS}{SHORT_NAMES.get(name, name.removeprefix(KERAS))}"], find_places(backbone)
    assert (tuple(places), default_cut(places)) == (facts.cuts, facts.default)
    assert backbone.count_params() == facts.parameters


def test_a_wrong_cut_lists_the_right_ones() -> None:
    with pytest.raises(UserError, match=r"a cut of vgg16 \(input, block1, .*, block4, top\), received 'blok4'"):
        frozen_trunk(BACKBONES["vgg16"].build(SIZE), "vgg16", "blok4")
    with pytest.raises(UserError, match=r"a cut of keras:VGG16 \(input, stage1, .*, top\), received 'block4'"):
        resolve_cut("keras:VGG16", "block4")


def test_features_tell_images_apart(name: str, backbone: keras.Model, pixels: Floats) -> None:
    """They are neither all alike, nor 0, nor immense."""
    features = frozen_trunk(backbone, name, "top")(pixels, training=False).numpy()
    assert features.ndim == 2
    assert np.mean(np.std(features, axis=0)) > 0.03
    assert np.max(np.abs(features)) < 1e3


def test_a_backbone_is_pooled_as_wanted_unless_it_has_its_own_way(name: str, backbone: keras.Model) -> None:
    channels = backbone.output_shape[-1]
    both = frozen_trunk(backbone, name, "top", "average_max")
    assert both.output_shape == (None, channels if BACKBONES[name].own_pool else 2 * channels)


def test_cut_in_two_at_each_place_gives_what_the_uncut_network_gives(
    name: str, backbone: keras.Model, pixels: Floats
) -> None:
    """Inside the stages of keras.applications, at the first place only: some have 50 blocks."""
    expected = backbone(pixels, training=False).numpy()
    places = []
    cuts = [cut for cut in FACTS[name].cuts[:-1] if "." not in cut or cut.endswith(".block1")]
    for cut in ("input", *cuts):
        tensor = BACKBONES[name].activations(backbone, cut)
        trunk = frozen_trunk(backbone, name, cut)
        activations = trunk(pixels, training=False).numpy()
        assert np.mean(np.std(activations, axis=0)) > 0.01, cut
        received = layers_above(backbone, tensor)(activations, training=False).numpy()
        assert _difference(received, expected) < TOLERANCE, cut
        places.append((len(trunk.weights), len(trunk.operations)))
    assert places == sorted(set(places)), "cuts are in order, from the pixels upwards"


def test_what_is_cached_is_no_more_than_was_said(name: str, size: int, backbone: keras.Model) -> None:
    """Where a size is no multiple of the strides, it is rounded up, or down where convolutions do not pad."""
    (_, *shape) = frozen_trunk(backbone, name, "auto").output_shape
    rounding = 1 if size == SIZE else 1.3
    values = math.prod(shape) / size**2
    assert FACTS[name].values_a_pixel / 2 / rounding**2 < values <= FACTS[name].values_a_pixel * rounding


def test_openvino_computes_the_trunk(name: str, backbone: keras.Model, pixels: Floats) -> None:
    trunk = frozen_trunk(backbone, name, "auto")
    assert check_agreement(make_engine(trunk, "openvino"), trunk, pixels) < 1e-4


def test_weight_decay_pulls_kernels_only(name: str, backbone: keras.Model) -> None:
    """And neither a layer scale (ConvNeXt) nor embeddings (ViT), as their authors have it."""
    optimizer = make_optimizer(Recipe(epochs=1, lr=1e-3, weight_decay=0.1), steps=1)
    decayed = {variable.name for variable in backbone.trainable_variables if optimizer._use_weight_decay(variable)}
    assert {name.removeprefix("depthwise_").removeprefix("pointwise_") for name in decayed} == {"kernel"}


@dataclass
class Trained:
    """A network after one step of training above a cut, and its variables before."""

    architecture: Architecture
    cut: str
    network: Network
    before: dict[str, Floats]


def _variables(network: Network) -> dict[str, Floats]:
    return {variable.path: np.array(variable) for variable in network.whole.variables}


def _step(top: keras.Model, inputs: Floats, eagerly: bool = False) -> None:
    """Train one step. Nothing decays, so that only a gradient changes a variable."""
    model = compiled(top, Recipe(epochs=1, lr=1e-2), steps=1)
    model.run_eagerly = eagerly
    model.fit(inputs, ONE_HOT, batch_size=len(inputs), verbose=0)


@pytest.fixture(scope="module")
def trained(name: str, backbone: keras.Model, pixels: Floats) -> Trained:
    architecture = Architecture("transfer", len(pixels[0]), ("a", "b"), (7,), 0.1, backbone=name)
    cut = resolve_cut(name, TRAINED_ABOVE.get(name, "auto"))
    network = build(architecture, cut)
    network.backbone.set_weights(backbone.get_weights())
    before = _variables(network)
    # Eagerly: to trace a graph takes ten times as long. test_training_on_the_fly_… traces two.
    _step(network.top, network.trunk(pixels, training=False).numpy(), eagerly=True)
    return Trained(architecture, cut, network, before)


def _assert_only_what_is_above_changed(network: Network, before: dict[str, Floats], cut: str) -> None:
    """Nothing below the cut and no moving average changed; every kernel above did."""
    below = {variable.path for variable in network.trunk.variables}
    assert below or cut == "input"
    averages = [path for path in before if "/moving_" in path]
    after = _variables(network)
    for path in (*below, *averages):
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)
    kernels = [path for path in before if path.endswith("/kernel") and path not in below]
    assert len(kernels) > 2
    for path in kernels:
        assert np.any(after[path] != before[path]), path
    assert len(network.top.trainable_variables) == len({v.path for v in network.top.trainable_variables})


def test_a_step_of_training_changes_what_is_above_the_cut_only(name: str, trained: Trained) -> None:
    has_averages = any("/moving_" in path for path in trained.before)
    assert has_averages == (name not in ("vgg16", "convnext_tiny", "vit_base_patch16"))
    _assert_only_what_is_above_changed(trained.network, trained.before, trained.cut)


def test_a_trained_network_is_whole_saved_and_loaded(trained: Trained, pixels: Floats, tmp_path: Path) -> None:
    network = trained.network
    expected = network.whole(pixels, training=False).numpy()
    logits = network.top(network.trunk(pixels, training=False), training=False)
    np.testing.assert_allclose(keras.ops.softmax(logits).numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(keras.ops.softmax(from_pixels(network)(pixels)).numpy(), expected, atol=1e-4)
    files = ModelFiles(tmp_path / "m.json", tmp_path / "m.weights.h5", tmp_path / "m.npy")
    save(network, np.zeros((1, 2), np.float32), files)
    read = load(files.architecture, files.weights, trained.cut)
    np.testing.assert_array_equal(read.whole(pixels, training=False).numpy(), expected)
    again = read.top(read.trunk(pixels, training=False), training=False).numpy()
    np.testing.assert_allclose(again, logits.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cut", "on_the_fly"),
    [("efficientnetb0", "block6", True), ("mobilenetv3_large", "input", False)],
)
def test_training_on_the_fly_and_of_everything(name: str, cut: str, on_the_fly: bool) -> None:
    network = build(Architecture("transfer", SIZE, ("a", "b"), (7,), 0.1, backbone=name), cut)
    network.backbone.set_weights(pretrained(name, "none", SIZE, seed=3)[0].get_weights())
    before = _variables(network)
    _step(from_pixels(network) if on_the_fly else network.top, PIXELS)
    _assert_only_what_is_above_changed(network, before, cut)
