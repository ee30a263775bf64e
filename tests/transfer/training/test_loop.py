"""Tests of transfer/training/loop.py."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.metrics import recall_score
from sklearn.utils.class_weight import compute_class_weight

from transfer.core.errors import UserError
from transfer.core.spec import Spec
from transfer.networks.seeds import fix_seeds
from transfer.training.batches import ViewBatches
from transfer.training.checkpoints import Checkpoint, TrainingState
from transfer.training.loop import (
    CrossEntropy,
    Outcome,
    chance_loss,
    class_weights,
    compiled,
    predict,
    train,
)
from transfer.training.recipe import Job, Recipe

SPEC = Spec(("common", "rare"), "rare", "none", 8, 3, {})


def _data(seed: int | None = 1, scale: float = 1.0, images: int = 40) -> ViewBatches:
    """Two classes, told apart by the sign of the first of three values."""
    random = np.random.default_rng(0)
    labels = np.arange(images) % 2
    values = random.normal(0, 0.3, (images, 3))
    values[:, 0] += 2.0 * labels - 1.0
    return ViewBatches([values * scale], np.eye(2, dtype=np.float32)[labels], 8, seed)


def _inputs(batches: ViewBatches) -> np.ndarray:
    """All inputs of batches in order, (n, 3)."""
    return np.concatenate([inputs for inputs, _ in batches.epoch()])


def _top(initial: str = "glorot_uniform") -> keras.Model:
    entry = keras.Input((3,))
    return keras.Model(entry, layers.Dense(2, kernel_initializer=initial)(entry))


def _train(top: keras.Model, folder: Path, recipe: Recipe, scale: float = 1.0) -> Outcome:
    return train(Job("test", top, SPEC, recipe, folder / "curves"), _data(scale=scale), _data(seed=None, scale=scale))


def _unlearn(folder: Path, recipe: Recipe) -> tuple[keras.Model, Outcome]:
    """Train on labels that contradict what was learnt, so that every epoch makes validation worse."""
    fix_seeds(1)
    top = _top()
    _train(top, folder, Recipe(epochs=10, lr=0.1))
    validation = _data(seed=None)
    wrong = ViewBatches([_inputs(validation)], 1 - validation.targets, 8, 1)
    return top, train(Job("test", top, SPEC, recipe, folder / "wrong"), wrong, validation)


def test_training_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    fix_seeds(1)
    top = _top()
    outcome = _train(top, tmp_path, Recipe(epochs=10, lr=0.1))
    assert outcome.collapsed is None
    assert outcome.best["accuracy"] == 1.0
    assert outcome.trainable == 3 * 2 + 2
    losses = [float(line.split("\t")[1]) for line in _curve(tmp_path, "validation/loss")]
    assert outcome.best_epoch == 1 + int(np.argmin(losses))
    assert outcome.best["loss"] == pytest.approx(min(losses), abs=1e-6)
    validation = _data(seed=None)
    probabilities = predict(top, validation)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    loss = -np.mean(np.log(probabilities[validation.targets == 1]))
    assert loss == pytest.approx(outcome.best["loss"], abs=1e-5)


def _curve(folder: Path, name: str) -> list[str]:
    return (folder / f"curves/plots/metrics/{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]


def test_the_weights_of_the_best_epoch_are_kept_and_not_those_of_the_last(tmp_path: Path) -> None:
    top, outcome = _unlearn(tmp_path, Recipe(epochs=8, lr=0.2))
    validation = _data(seed=None)
    last = (tmp_path / "wrong/plots/metrics/validation/loss.tsv").read_text(encoding="utf-8").splitlines()[-1]
    assert outcome.best_epoch == 1
    assert float(last.split("\t")[1]) > outcome.best["loss"] + 0.5
    probabilities = predict(top, validation)
    assert -np.mean(np.log(probabilities[validation.targets == 1])) == pytest.approx(outcome.best["loss"], abs=1e-5)


def test_a_loss_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"epoch 1: expected a finite loss, received nan"):
        _train(_top(), tmp_path, Recipe(epochs=2, lr=0.1), scale=float("nan"))


class _Scripted(ViewBatches):
    """Validation data whose inputs turn into NaN, or to zero, from an epoch on."""

    def __init__(self, data: ViewBatches, factors: list[float]) -> None:
        inputs = _inputs(data)
        super().__init__([inputs], data.targets, 8, None)
        self._inputs, self._factors = inputs, iter(factors)

    def feed(self, first_epoch: int = 0) -> Any:
        return ViewBatches([self._inputs * next(self._factors)], self.targets, 8, None).feed(first_epoch)


def test_a_run_that_diverges_keeps_the_best_epoch_before_and_says_so(tmp_path: Path) -> None:
    fix_seeds(1)
    top = _top()
    validation = _Scripted(_data(seed=None), [1.0, 1.0, float("nan")])
    outcome = train(Job("test", top, SPEC, Recipe(epochs=5, lr=0.1), tmp_path / "curves"), _data(), validation)
    assert outcome.best_epoch == 2
    assert len(outcome.seconds_per_epoch) == 3
    assert outcome.stopped is not None
    assert outcome.stopped.startswith("training diverged in epoch 3: expected a finite loss, received 0.")
    assert outcome.stopped.endswith("nan in validation")
    assert np.isfinite(predict(top, _data(seed=None))).all()


def test_an_epoch_that_predicts_one_class_is_named_and_not_kept(tmp_path: Path) -> None:
    """With inputs of 0 only the biases count, and one class is predicted for everything."""
    fix_seeds(1)
    top = _top()
    top.layers[1].bias.assign([0.01, 0.0])
    validation = _Scripted(_data(seed=None), [1.0, 0.0, 0.0])
    outcome = train(Job("test", top, SPEC, Recipe(epochs=3, lr=1e-4), tmp_path / "curves"), _data(), validation)
    assert outcome.one_class_epochs == [2, 3]
    assert outcome.best_epoch == 1
    assert outcome.figures()["one_class_epochs"] == [2, 3]


def test_patience_ends_training_and_says_why(tmp_path: Path) -> None:
    _, outcome = _unlearn(tmp_path, Recipe(epochs=8, lr=0.2, patience=2))
    assert outcome.stopped == "finetune.patience: none of the last 2 epochs was better than epoch 1"
    assert (outcome.best_epoch, len(outcome.seconds_per_epoch), outcome.epochs) == (1, 3, 8)


def test_patience_that_is_not_used_up_stops_nothing(tmp_path: Path) -> None:
    fix_seeds(1)
    outcome = _train(_top(), tmp_path, Recipe(epochs=4, lr=0.01, patience=1))
    assert outcome.stopped is None
    assert len(outcome.seconds_per_epoch) == 4


def test_a_time_budget_plans_fewer_epochs_and_the_learning_rate_still_falls_to_the_end(tmp_path: Path) -> None:
    fix_seeds(1)
    outcome = _train(_top(), tmp_path, Recipe(epochs=50, lr=0.1, time_budget_s=1e-3))
    assert outcome.epochs == 1
    assert outcome.best_epoch == 1
    assert float(_curve(tmp_path, "lr")[-1].split("\t")[1]) == pytest.approx(0, abs=1e-4)


def test_a_time_budget_that_suffices_changes_nothing(tmp_path: Path) -> None:
    fix_seeds(1)
    assert _train(_top(), tmp_path, Recipe(epochs=3, lr=0.1, time_budget_s=3600)).epochs == 3


def test_averaged_weights_are_those_that_are_kept(tmp_path: Path) -> None:
    """The exponential moving average of what the same steps without averaging went through, computed by hand."""
    momentum = 0.75
    weights: list[np.ndarray] = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            weights.append(self.model.get_weights()[0])

    plain, averaged = Recipe(epochs=1, lr=0.05), Recipe(epochs=1, lr=0.05, averaging=momentum)
    tops = []
    for _ in range(2):
        fix_seeds(1)
        tops.append(_top())
    one_by_one = [ViewBatches([_inputs(_data(seed=None))], _data().targets, 1, 1) for _ in range(2)]
    top = compiled(tops[0], plain, 40)
    top.fit(one_by_one[0].feed(), steps_per_epoch=40, callbacks=[Record()], shuffle=False, verbose=0)
    train(Job("test", tops[1], SPEC, averaged, tmp_path / "curves"), one_by_one[1], _data(seed=None))
    expected = weights[0]
    for value in weights[1:]:
        expected = momentum * expected + (1 - momentum) * value
    np.testing.assert_allclose(tops[1].get_weights()[0], expected, atol=1e-5)
    assert np.abs(weights[-1] - expected).max() > 2e-3


def test_averaging_keeps_the_average_of_the_best_epoch(tmp_path: Path) -> None:
    fix_seeds(1)
    top = _top()
    outcome = _train(top, tmp_path, Recipe(epochs=6, lr=0.1, averaging=0.8))
    probabilities, targets = predict(top, _data(seed=None)), _data(seed=None).targets
    assert -np.mean(np.log(probabilities[targets == 1])) == pytest.approx(outcome.best["loss"], abs=1e-5)


def test_soft_targets_reach_the_loss(tmp_path: Path) -> None:
    fix_seeds(1)
    top = _top()
    validation = _data(seed=None)
    inputs = _inputs(validation)
    soft = 0.8 * validation.targets + 0.1
    batches = ViewBatches([inputs], soft, 8, None)
    outcome = train(Job("test", top, SPEC, Recipe(epochs=1, lr=1e-9), tmp_path / "curves"), _data(), batches)
    assert outcome.best["loss"] == pytest.approx(
        -np.mean(np.sum(soft * np.log(predict(top, batches)), axis=1)), abs=1e-5
    )
    assert outcome.chance_loss == pytest.approx(math.log(2), abs=1e-6)


def test_a_run_that_predicts_one_class_is_named(tmp_path: Path) -> None:
    top = _top("zeros")
    top.layers[1].bias.assign([5.0, -5.0])
    outcome = _train(top, tmp_path, Recipe(epochs=1, lr=1e-9))
    assert outcome.collapsed == "it predicts one class for every validation image"


def test_weight_decay_leaves_biases_alone(tmp_path: Path) -> None:
    top = _top("ones")
    top.layers[1].bias.assign([5.0, 5.0])
    _train(top, tmp_path, Recipe(epochs=1, lr=1e-6, weight_decay=1e5))
    kernel, bias = top.layers[1].get_weights()
    assert np.abs(kernel).max() < 0.9
    np.testing.assert_allclose(bias, 5.0, atol=1e-3)


def test_chance_loss_is_the_entropy_of_the_smoothed_frequencies() -> None:
    one_hot = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]
    assert chance_loss(one_hot, 0.0) == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert chance_loss(one_hot, 0.2) == pytest.approx(-(0.7 * math.log(0.7) + 0.3 * math.log(0.3)))


def test_balanced_class_weights_are_those_of_scikit_learn() -> None:
    labels = np.array([0] * 60 + [1] * 6 + [2] * 3)
    weights = class_weights("balanced", ("a", "b", "c"), np.eye(3, dtype=np.float32)[labels])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert weights is not None
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert np.mean(weights[labels]) == pytest.approx(1)


@pytest.mark.parametrize(("common", "wanted"), [(39, "none"), (40, "balanced"), (400, "balanced")])
def test_classes_of_very_different_sizes_are_balanced_by_themselves(
    common: int, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one_hot = np.eye(2, dtype=np.float32)[[0] * common + [1] * 4]
    expected = class_weights(wanted, SPEC.classes, one_hot)
    np.testing.assert_equal(class_weights("auto", SPEC.classes, one_hot), expected)
    said = f"auto balances the loss: the largest class has {common // 4} times the images of the smallest\n"
    assert (said in capsys.readouterr().out) == (wanted == "balanced")


def test_class_weights_go_by_name_and_each_class_needs_one() -> None:
    one_hot = np.eye(2, dtype=np.float32)
    assert class_weights("none", SPEC.classes, one_hot) is None
    np.testing.assert_array_equal(class_weights({"rare": 5.0, "common": 2.0}, SPEC.classes, one_hot), [2, 5])
    for wrong in ({"rare": 5.0}, {"rare": 5.0, "common": 1.0, "other": 1.0}, {"rare": 5.0, "comon": 1.0}):
        with pytest.raises(UserError, match=r"the classes are common, rare, and the weights are for rare"):
            class_weights(wrong, SPEC.classes, one_hot)


def test_class_weights_reach_the_loss(tmp_path: Path) -> None:
    """One batch, and a learning rate that changes nothing: the loss can be computed by hand."""
    fix_seeds(1)
    top = _top()
    validation = _data(seed=None, images=30)
    x, y = _inputs(validation), validation.targets
    log_probabilities = np.log(keras.ops.convert_to_numpy(keras.ops.softmax(top(x))))
    losses = -np.sum(y * log_probabilities, axis=1)
    recipe = Recipe(epochs=1, lr=1e-9, class_weights={"common": 1.0, "rare": 7.0})
    batches = ViewBatches([x], y, 30, 1)
    outcome = train(Job("test", top, SPEC, recipe, tmp_path / "curves"), batches, validation)
    expected = np.mean(losses * np.where(y[:, 1] == 1, 7, 1))
    assert float(_curve(tmp_path, "train/loss")[0].split("\t")[1]) == pytest.approx(expected, rel=1e-5)
    assert outcome.best["loss"] == pytest.approx(expected, rel=1e-5)
    assert expected > 2 * np.mean(losses)


def test_a_soft_label_is_weighted_as_the_hard_labels_that_it_stands_for(tmp_path: Path) -> None:
    """Images that look the same: 3 in 10 are rare, or each is so to 0.3. Losses and steps are the same."""
    found = {}
    for name, targets in (("hard", np.eye(2)[[0] * 7 + [1] * 3]), ("soft", np.tile([[0.7, 0.3]], (10, 1)))):
        fix_seeds(1)
        top, data = _top(), ViewBatches([np.ones((10, 3))], targets.astype(np.float32), 10, None)
        recipe = Recipe(epochs=3, lr=0.1, class_weights={"common": 1.0, "rare": 9.0})
        outcome = train(Job("test", top, SPEC, recipe, tmp_path / name), data, data)
        found[name] = outcome.best["loss"], outcome.chance_loss, predict(top, data)[0, 1]
        share = 2.7 / (0.7 + 2.7)  # of the rare class, by weight
        lowest = -(0.7 * math.log(1 - share) + 2.7 * math.log(share))
        assert outcome.chance_loss == pytest.approx(lowest, abs=1e-5)
    assert found["soft"] == pytest.approx(found["hard"], abs=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighted_chance_loss_is_the_lowest_weighted_loss_of_one_prediction(smoothing: float) -> None:
    one_hot, weights = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]], np.array([1.0, 5.0], np.float32)
    loss = CrossEntropy(smoothing, weights)
    tried = [float(loss(one_hot, np.log(np.tile([[1 - p, p]], (4, 1))))) for p in np.linspace(0.01, 0.99, 99)]
    assert chance_loss(one_hot, smoothing, weights) == pytest.approx(min(tried), abs=1e-3)
    assert chance_loss(one_hot, smoothing, np.ones(2, np.float32)) == pytest.approx(chance_loss(one_hot, smoothing))


def test_balanced_weights_raise_the_recall_of_a_rare_class(tmp_path: Path) -> None:
    """Sixty to six, of classes that overlap: without weights the rare images are given up."""
    random = np.random.default_rng(1)

    def data(counts: tuple[int, int], size: int, seed: int | None) -> ViewBatches:
        labels = np.repeat([0, 1], counts)
        values = random.normal(0, 1, (len(labels), 3)) + 0.8 * labels[:, None]
        return ViewBatches([values], np.eye(2, dtype=np.float32)[labels], size, seed)

    batches, validation = data((60, 6), 22, 1), data((300, 30), 330, None)
    recalls, outcomes = {}, {}
    for wanted in ("none", "balanced"):
        fix_seeds(1)
        top = _top()
        recipe = Recipe(epochs=15, lr=0.05, class_weights=wanted)
        outcomes[wanted] = train(Job("test", top, SPEC, recipe, tmp_path / wanted), batches, validation)
        predicted = np.argmax(predict(top, validation), axis=1)
        recalls[wanted] = recall_score(np.argmax(validation.targets, axis=1), predicted)
    assert recalls["balanced"] > recalls["none"] + 0.3, recalls
    # Without weights in validation this good network would pass for a collapsed one: 0.58, where chance has 0.30.
    assert outcomes["balanced"].collapsed is None
    assert outcomes["balanced"].chance_loss == pytest.approx(math.log(2), abs=1e-3)


class _Killed(BaseException):
    """Stands in for the end of the process."""


class _Breaking(Checkpoint):
    """Writes after every epoch, and ends the process once it has written so many times."""

    def __init__(self, inputs: list[Path], after: int | None) -> None:
        super().__init__("net", inputs)
        self._left = after

    def due(self) -> bool:
        return True

    def write(self, progress: TrainingState) -> None:
        super().write(progress)
        self._left = None if self._left is None else self._left - 1
        if self._left == 0:
            raise _Killed


def _deep_top() -> keras.Model:
    """All that has a state: dropout, batch normalisation, weights that are decayed and some that are not."""
    entry = keras.Input((3,))
    x = layers.Dense(16, activation="relu")(entry)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(entry, layers.Dense(2)(x))


@dataclass(frozen=True)
class _Ran:
    outcome: Outcome
    weights: list[bytes]
    curves: dict[str, bytes]


def _run(folder: Path, recipe: Recipe, checkpoint: Checkpoint | None, wrong: bool = False) -> _Ran:
    """Train as a fresh process would; `wrong` labels make validation worse with every epoch."""
    fix_seeds(1)
    top, batches, validation = _deep_top(), _data(), _data(seed=None)
    if wrong:
        batches = ViewBatches([_inputs(validation)], 1 - validation.targets, 8, 1)
    curves = folder / "curves"
    outcome = train(Job("net", top, SPEC, recipe, curves, checkpoint=checkpoint), batches, validation)
    tables = {str(path.relative_to(curves)): path.read_bytes() for path in curves.rglob("*.tsv")}
    return _Ran(outcome, [weights.tobytes() for weights in top.get_weights()], tables)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What a training is said to have read, in the working directory of the test."""
    monkeypatch.chdir(tmp_path)
    path = Path("params.yaml")
    path.write_text("lr: 1", encoding="utf-8")
    return [path]


FULL = Recipe(epochs=7, lr=0.05, warmup=0.36, weight_decay=0.1, label_smoothing=0.1, class_weights="balanced")


@pytest.fixture(scope="module", params=[0.0, 0.8])
def uncut(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, _Ran]:
    """A training that nothing cut off, without averaging of weights and with it."""
    recipe = replace(FULL, averaging=request.param)
    return recipe, _run(tmp_path_factory.mktemp("uncut"), recipe, None)


@pytest.mark.slow
@pytest.mark.parametrize("breaks", [[1], [3], [6], [7], [2, 1, 3]])
def test_training_that_was_cut_off_ends_with_the_same_bits(
    breaks: list[int], uncut: tuple[Recipe, _Ran], inputs: list[Path], tmp_path: Path
) -> None:
    recipe, whole = uncut
    for after in breaks:
        with pytest.raises(_Killed):
            _run(tmp_path, recipe, _Breaking(inputs, after))
    resumed = _run(tmp_path, recipe, _Breaking(inputs, None))
    assert resumed.outcome.resumed_after == sum(breaks)
    assert resumed.weights == whole.weights
    assert resumed.curves == whole.curves
    assert len(whole.curves) == 7
    assert resumed.outcome.figures() == whole.outcome.figures()
    assert len(resumed.outcome.seconds_per_epoch) == 7
    assert 0 < resumed.outcome.seconds_before < 100
    assert (whole.outcome.resumed_after, whole.outcome.seconds_before) == (0, 0)


@pytest.mark.slow
def test_the_best_epoch_before_a_break_is_kept(inputs: list[Path], tmp_path: Path) -> None:
    recipe = Recipe(epochs=5, lr=0.2)
    whole = _run(tmp_path, recipe, None, wrong=True)
    assert whole.outcome.best_epoch < 3
    with pytest.raises(_Killed):
        _run(tmp_path, recipe, _Breaking(inputs, 3), wrong=True)
    resumed = _run(tmp_path, recipe, _Breaking(inputs, None), wrong=True)
    assert (resumed.weights, resumed.outcome.best) == (whole.weights, whole.outcome.best)


def test_training_that_had_stopped_does_not_go_on(inputs: list[Path], tmp_path: Path) -> None:
    recipe = Recipe(epochs=9, lr=0.2, patience=2)
    whole = _run(tmp_path, recipe, None, wrong=True)
    epochs = len(whole.outcome.seconds_per_epoch)
    assert epochs < 9
    with pytest.raises(_Killed):
        _run(tmp_path, recipe, _Breaking(inputs, epochs), wrong=True)
    resumed = _run(tmp_path, recipe, _Breaking(inputs, None), wrong=True)
    assert len(resumed.outcome.seconds_per_epoch) == resumed.outcome.resumed_after == epochs
    assert (resumed.weights, resumed.outcome.stopped) == (whole.weights, whole.outcome.stopped)


def test_a_plan_that_a_budget_made_is_kept_over_a_break(inputs: list[Path], tmp_path: Path) -> None:
    """And what was used of the budget counts."""
    with pytest.raises(_Killed):
        _run(tmp_path, replace(FULL, time_budget_s=3600), _Breaking(inputs, 2))
    resumed = _run(tmp_path, replace(FULL, time_budget_s=1e-3), _Breaking(inputs, None))
    assert resumed.outcome.epochs == 7
    assert resumed.outcome.stopped == "time_budget_s: another epoch would end after the 0.001 s"
    assert len(resumed.outcome.seconds_per_epoch) == 3


def test_jax_trains_compiled_and_tensorflow_without_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(keras.Model, "compile", lambda _, **options: asked.append(options["jit_compile"]))
    compiled(_top(), Recipe(epochs=1, lr=0.1), 1)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    compiled(_top(), Recipe(epochs=1, lr=0.1), 1)
    assert asked == [False, True]
