"""Tests of benchmarks/frozen_fit.py: the same network as the pipeline's, and how its seconds are estimated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import frozen_fit
from benchmarks.frozen_fit import Clocked, augmentation, dataset, estimated, fit, measure, read_images, tutorial_model
from stages import train_head
from tests.conftest import RunStage
from transfer.core.errors import UserError
from transfer.core.params import Params, read_params
from transfer.core.spec import Spec
from transfer.networks.network import build
from transfer.records.tfrecords import normalise
from transfer.records.views import apply_view


@pytest.fixture
def prepared(project: Path, tiny_backbone: None, run_stage: RunStage) -> tuple[Params, Spec]:
    """The project as it is before embed."""
    for name in ("download", "weights", "preprocess"):
        run_stage(name)
    return read_params(Path("params.yaml")), Spec.read(Path("data/records/spec.json"))


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_training_images_come_in_each_of_the_views_and_no_other(views: int) -> None:
    image = np.random.default_rng(0).random((1, 4, 4, 3)).astype(np.float32)
    batch = np.repeat(image, 200, axis=0)
    seen = np.array(augmentation(views)(batch, training=True))
    valid = [apply_view(image, view)[0] for view in range(views)]
    found = [[bool((one == view).all()) for view in valid] for one in seen]
    assert all(sum(matches) == 1 for matches in found)
    assert np.array(found).any(axis=0).all()
    np.testing.assert_array_equal(np.array(augmentation(views)(batch, training=False)), batch)


def test_the_network_is_that_of_the_pipeline_with_the_backbone_frozen(prepared: tuple[Params, Spec]) -> None:
    params, spec = prepared
    model = tutorial_model(params, spec)
    network = build(train_head.architecture_of(params, spec, params.backbone))
    network.backbone.load_weights("models/backbone.weights.h5")
    network.top.set_weights(model.get_layer("head").get_weights())
    pixels = normalise(read_images(Path("data/records/validation"), spec).pixels)
    expected = network.top(network.trunk(pixels))
    np.testing.assert_allclose(model(pixels, training=False), expected, rtol=1e-4, atol=1e-5)
    assert [tuple(v.shape) for v in model.trainable_variables] == [
        tuple(v.shape) for v in network.top.trainable_variables
    ]


def test_batches_are_the_images_of_the_records(prepared: tuple[Params, Spec]) -> None:
    _, spec = prepared
    images = read_images(Path("data/records/train"), spec)
    inputs, labels = (np.concatenate(part) for part in zip(*dataset(images, 7, shuffle=False), strict=True))
    np.testing.assert_allclose(inputs, normalise(images.pixels), atol=1e-6)
    np.testing.assert_array_equal(labels, images.one_hot)
    assert labels.sum(axis=0).tolist() == [12, 12]
    shuffled = np.concatenate([part for part, _ in dataset(images, 7, shuffle=True)])
    assert not np.array_equal(shuffled, inputs)
    np.testing.assert_array_equal(np.sort(shuffled.ravel()), np.sort(inputs.ravel()))


def test_the_clock_counts_what_is_not_steps(prepared: tuple[Params, Spec], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that ticks once a look: a look at each end of a step, and one at the start and the end of all."""
    params, spec = prepared
    train, validation = (read_images(Path("data/records") / name, spec) for name in ("train", "validation"))
    ticks = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    params = replace(params, batch_size=4)  # 24 images to train on, 12 to validate
    clocked = fit(params, spec, train, validation, epochs=1, steps=5)
    looks = next(ticks) - 1
    assert (clocked.step, clocked.validation_step) == (1.0, 1.0)
    assert clocked.besides == looks - 5 - 3


def test_seconds_are_estimated_from_steps() -> None:
    clocked = [Clocked(step=2.0, validation_step=1.0, besides=10.0), Clocked(4.0, 1.0, 30.0)]
    # a setting: 10 + 5 × (3 × 2 + 2 × 1) = 50, and 30 + 5 × (3 × 4 + 2 × 1) = 100; the mean of both, for each of 12
    assert estimated(clocked, settings=12, epochs=5, steps=3, validation_steps=2) == 12 * 75


def test_the_loop_is_estimated_or_run_whole(prepared: tuple[Params, Spec], monkeypatch: pytest.MonkeyPatch) -> None:
    params, spec = prepared
    params = replace(params, batch_size=4, head=replace(params.head, epochs=2))
    settings = [params, replace(params, head=replace(params.head, units=())), params]
    ran: list[tuple[int, int, int]] = []

    def fit_none(params: Params, spec: Spec, train: object, validation: object, epochs: int, steps: int) -> Clocked:
        ran.append((len(params.head.units), epochs, steps))
        return Clocked(1.0, 0.5, 4.0)

    monkeypatch.setattr(frozen_fit, "fit", fit_none)
    monkeypatch.setattr(frozen_fit, "STEPS", 5)
    result = measure(settings, spec, full=False)
    assert ran == [(1, 1, 5), (1, 1, 5)]
    assert (result["estimated"], result["measured_steps"], result["measured_settings"]) == (True, 5, 2)
    assert result["seconds_in_settings"] == 3 * (4.0 + 2 * (6 * 1.0 + 3 * 0.5))
    ran.clear()
    assert measure(settings, spec, full=True)["estimated"] is False
    assert ran == [(1, 2, 6), (0, 2, 6), (1, 2, 6)]


def test_settings_of_several_lengths_are_an_error(prepared: tuple[Params, Spec]) -> None:
    params, spec = prepared
    longer = replace(params, head=replace(params.head, epochs=50))
    with pytest.raises(UserError, match=r"one number of epochs and batch size, received \[\(25, 8\), \(50, 8\)\]"):
        measure([params, longer], spec, full=False)
