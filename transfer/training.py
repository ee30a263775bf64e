"""Training of a network's top on what its trunk gives."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from transfer.batches import Batches
from transfer.budget import epochs_within
from transfer.checkpoints import Checkpoint, Progress
from transfer.errors import UserError
from transfer.history import CURVES, LearningCurves
from transfer.progress import progress_bar
from transfer.spec import Spec

Array = NDArray[np.float32]
NOT_DECAYED = ["bias", "gamma", "beta"]  # shifts and scales are few, and pulling them to 0 does not regularise


@dataclass(frozen=True)
class Recipe:
    """How to train: epochs, peak learning rate of AdamW, its weight decay, warm-up, label smoothing, clipping.

    `class_weights` is "none", "balanced" or a weight for each class by its name, for the loss. `averaging` is the
    momentum of the exponential moving average of the weights, 0 for none. `patience` is the number of epochs without a
    better one, and `time_budget_s` the seconds, after which training stops.
    """

    epochs: int
    lr: float
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float = 1.0
    class_weights: str | dict[str, float] = "none"
    averaging: float = 0.0
    patience: int | None = None
    time_budget_s: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What training came to.

    `epochs` is the number that was planned, and `seconds_before` the time that was spent before training went on after
    a break, at epoch `resumed_after`; `best` holds the validation figures of the epoch whose weights were kept,
    `one_class_epochs` the numbers of those in which one class was predicted for every validation image, `stopped` why
    training ended before its last epoch, and `collapsed` what is wrong with the best epoch, where it is no better than
    chance.
    """

    epochs: int
    best_epoch: int
    best: dict[str, float]
    chance_loss: float
    trainable: int
    seconds_per_epoch: list[float]
    one_class_epochs: list[int]
    stopped: str | None
    collapsed: str | None
    resumed_after: int
    seconds_before: float

    def figures(self) -> dict[str, object]:
        """Give what goes to metrics/train: all but the seconds."""
        return {
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "trainable": self.trainable,
            "validation": self.best,
            "chance_loss": self.chance_loss,
            "one_class_epochs": self.one_class_epochs,
            "stopped": self.stopped,
            "collapsed": self.collapsed,
        }


class F1(keras.metrics.F1Score):
    """F1 from logits: of the positive class where there is one, otherwise the mean over the classes.

    A mixed image counts as one of the class that it has most of, as in Keras's accuracy.
    """

    def __init__(self, positive: int | None) -> None:
        super().__init__(average=None if positive is not None else "macro", name="f1")
        self._positive = positive

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        true, most_likely = (ops.one_hot(ops.argmax(y, axis=-1), y_pred.shape[-1]) for y in (y_true, y_pred))
        super().update_state(true, most_likely, sample_weight)

    def result(self) -> keras.KerasTensor:
        result = super().result()
        return result if self._positive is None else result[self._positive]


class PredictedClasses(keras.metrics.Metric):
    """How many classes a network predicts at all; 1 is the sign of a collapsed one."""

    def __init__(self, classes: int) -> None:
        super().__init__(name="predicted_classes")
        self._counts = self.add_weight(shape=(classes,), initializer="zeros", name="counts")

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        most_likely = ops.one_hot(ops.argmax(y_pred, axis=-1), y_pred.shape[-1])
        self._counts.assign_add(ops.sum(most_likely, axis=0))

    def result(self) -> keras.KerasTensor:
        return ops.sum(ops.cast(self._counts > 0, "float32"))


class _Validation(keras.callbacks.Callback):
    """Add the validation figures of `top` to the logs of an epoch, for the callbacks behind this one.

    `fit` validates by itself, but on what it trains; that may be `top` with its trunk, which validation can do without.
    """

    def __init__(self, top: keras.Model, validation: Batches, weights: Array | None) -> None:
        super().__init__()
        self._top, self._validation, self._weights = top, validation, weights

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        figures = self._top.evaluate(self._validation.feed(self._weights), return_dict=True, verbose=0)
        logs.update({f"val_{name}": value for name, value in figures.items()})


class _BestEpoch(keras.callbacks.Callback):
    """Keep the weights of the epoch with the lowest validation loss, time epochs, and stop where more are no use.

    Only those of `top` are kept, which is all that changes: its trainable variables, and the moving averages of a
    baseline's batch normalisation. An epoch in which one class is predicted for everything is kept only while there is
    no other. Training stops where the loss is no number, after `patience` epochs without a better one, and where
    another epoch would end after the time budget.
    """

    NOTED = ("seconds", "one_class", "stopped", "epoch", "figures", "rank")

    def __init__(self, top: keras.Model, recipe: Recipe, started: float, title: str) -> None:
        super().__init__()
        self._top, self._recipe, self._started = top, recipe, started
        self.seconds: list[float] = []
        self.one_class: list[int] = []
        self.stopped: str | None = None
        self.epoch = 0
        self.figures: dict[str, float] = {}
        self.rank = (True, math.inf)  # one class only; validation loss
        self._weights: list[Array] = []
        self._bar = progress_bar(recipe.epochs, title, "epoch")

    def facts(self) -> dict[str, Any]:
        """Return what was noted so far, all but the weights."""
        return {name: getattr(self, name) for name in self.NOTED}

    def weights(self) -> list[Array]:
        """Return those of the best epoch, in the order of the network's."""
        return self._weights

    def restore(self, facts: dict[str, Any], weights: list[Array]) -> None:
        """Go on from what `facts` and `weights` returned."""
        for name in self.NOTED:
            setattr(self, name, facts[name])
        self.rank = (bool(self.rank[0]), float(self.rank[1]))
        self._weights = weights
        self._bar.update(len(self.seconds))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.seconds.append(time.perf_counter() - self._start)
        if not (math.isfinite(values["loss"]) and math.isfinite(values["val_loss"])):
            self._diverged(epoch + 1, values["loss"], values["val_loss"])
            return
        rank = (values["val_predicted_classes"] < 2, values["val_loss"])
        if rank[0]:
            self.one_class.append(epoch + 1)
        if rank < self.rank:
            self.rank, self.epoch = rank, epoch + 1
            self.figures = {name: round(values[f"val_{name}"], 6) for name in CURVES}
            self._weights = self._top.get_weights()
        state = f"validation loss {values['val_loss']:.3f}, accuracy {values['val_accuracy']:.3f}"
        self._bar.set_postfix_str(state, refresh=False)
        self._bar.update()
        if epoch + 1 < self._recipe.epochs and (reason := self._enough(epoch + 1)):
            self._stop(reason)

    def _diverged(self, epoch: int, loss: float, val_loss: float) -> None:
        """Stop; with nothing to keep, that is an error."""
        losses = f"received {loss} in training and {val_loss} in validation"
        if not self.epoch:
            self._bar.close()
            raise UserError(
                f"epoch {epoch}: expected a finite loss, {losses}: training diverged; try a lower learning rate"
            )
        self._stop(f"training diverged in epoch {epoch}: expected a finite loss, {losses}")

    def _enough(self, epochs: int) -> str | None:
        """Say why training is to stop after so many epochs."""
        patience, budget = self._recipe.patience, self._recipe.time_budget_s
        if patience is not None and epochs - self.epoch >= patience:
            return f"finetune.patience: none of the last {patience} epochs was better than epoch {self.epoch}"
        if budget is not None and time.perf_counter() - self._started + max(self.seconds[-2:]) > budget:
            return f"time_budget_s: another epoch would end after the {budget:g} s"
        return None

    def _stop(self, reason: str) -> None:
        self.stopped = reason
        self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._bar.close()
        self._top.set_weights(self._weights)


def _optimizer(recipe: Recipe, steps: int) -> keras.Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101): linear warm-up, cosine decay to 0, gradients clipped."""
    warm_up = round(recipe.warmup_epochs * steps)
    decay = recipe.epochs * steps - warm_up
    if warm_up:
        rate = keras.optimizers.schedules.CosineDecay(0.0, decay, warmup_target=recipe.lr, warmup_steps=warm_up)
    else:
        rate = keras.optimizers.schedules.CosineDecay(recipe.lr, decay)
    optimizer = keras.optimizers.AdamW(
        rate,
        weight_decay=recipe.weight_decay,
        global_clipnorm=recipe.clip_norm,
        use_ema=recipe.averaging > 0,
        ema_momentum=recipe.averaging,
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def chance_loss(aims: Array, smoothing: float, weights: Array | None = None) -> float:
    """Return the lowest cross-entropy (natural logarithm) that predicting the same for every image can reach.

    `aims` are the targets, float32 (n, classes).
    `weights` are those of the classes, float32 (classes,); the cross-entropy is then the weighted one, as in training.
    """
    images = np.ones(len(aims)) if weights is None else aims @ weights
    mean = images @ (aims * (1 - smoothing) + smoothing / aims.shape[1]) / len(aims)  # (classes,)
    present = mean[mean > 0]
    return float(-np.sum(present * np.log(present / np.sum(mean))))


def class_weights(wanted: str | dict[str, float], classes: Sequence[str], aims: Array) -> Array | None:
    """Return what the param class_weights comes to: a weight for each class, float32 (classes,), or None.

    "balanced" is images / (classes × images of the class) (King and Zeng 2001, as in scikit-learn's
    `compute_class_weight`): all classes then weigh the same, and an image 1 in the mean.

    Raises:
        UserError: a class without a weight, or a weight without a class.
    """
    if wanted == "none":
        return None
    if isinstance(wanted, str):
        counts = np.maximum(aims.sum(axis=0), 1)
        return np.array(len(aims) / (len(classes) * counts), np.float32)
    if set(wanted) != set(classes):
        raise UserError(
            f"params.yaml: class_weights: expected a weight for each class, {', '.join(classes)}, received weights for "
            f"{', '.join(wanted)}"
        )
    return np.array([wanted[name] for name in classes], np.float32)


def _collapse(best: _BestEpoch, chance: float) -> str | None:
    """Say what is wrong with the best epoch, where it is no better than chance."""
    one_class, loss = best.rank
    if one_class:
        return "it predicts one class for every validation image"
    return f"its validation loss, {loss:.3f}, is not below that of chance, {chance:.3f}" if loss >= chance else None


def compiled(
    top: keras.Model, recipe: Recipe, steps: int, metrics: Sequence[str | keras.metrics.Metric] = ()
) -> keras.Model:
    """Make a network of logits ready for `fit`, with `steps` batches in an epoch."""
    top.compile(
        optimizer=_optimizer(recipe, steps),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        metrics=list(metrics),
        jit_compile=False,  # XLA on a CPU compiles for minutes
    )
    return top


def _compile(top: keras.Model, trained: keras.Model, recipe: Recipe, steps: int, spec: Spec) -> None:
    """Compile both networks, or the one that both are, with fresh metrics and a fresh optimizer."""
    for model in {id(top): top, id(trained): trained}.values():
        compiled(model, recipe, steps, ["accuracy", F1(spec.positive_class), PredictedClasses(len(spec.classes))])


class _Saving(keras.callbacks.Callback):
    """Write checkpoints at the ends of epochs. Stands behind all callbacks whose state it keeps."""

    def __init__(
        self, checkpoint: Checkpoint, started: float, epochs: int, best: _BestEpoch, history: LearningCurves
    ) -> None:
        super().__init__()
        self._checkpoint, self._started, self._epochs = checkpoint, started, epochs
        self._best, self._history = best, history

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not self._checkpoint.due():
            return
        elapsed = time.perf_counter() - self._started
        facts = {"epochs": self._epochs, "elapsed_s": elapsed, "history": self._history.epochs, **self._best.facts()}
        variables = [ops.convert_to_numpy(variable) for variable in _changing(self.model)]
        self._checkpoint.write(Progress(facts, {"variables": variables, "best": self._best.weights()}))


def _changing(trained: keras.Model) -> list[keras.Variable]:
    """Return all that training may change, the states of random generators and of the optimizer among them."""
    return [*trained.variables, *trained.optimizer.variables]


def _resume(
    trained: keras.Model,
    before: Progress,
    best: _BestEpoch,
    averages: Sequence[keras.callbacks.SwapEMAWeights],
    epochs: int,
) -> None:
    """Put a compiled network, its optimizer and what is noted of the best epoch into the state of a checkpoint.

    At the end of an epoch, the averaged weights are in the network and the others in the optimizer. SwapEMAWeights has
    to know that: it swaps them back when the next epoch begins (by sums, so that swapping them here would round).
    """
    best.restore(before.facts, before.arrays.get("best", []))
    trained.optimizer.build(trained.trainable_variables)
    for callback in averages:
        callback.set_params({"epochs": epochs})
        callback.set_model(trained)
        callback.on_epoch_end(len(best.seconds) - 1)
    for variable, value in zip(_changing(trained), before.arrays["variables"], strict=True):
        variable.assign(value)


def train(
    top: keras.Model,
    batches: Batches,
    validation: Batches,
    spec: Spec,
    recipe: Recipe,
    curves: Path,
    title: str,
    around: keras.Model | None = None,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Train `top` (inputs to logits) and leave in it the weights of the best epoch by validation loss.

    Class weights count in the loss, in validation as in training: a network that is trained to find a rare class more
    often than it occurs has a high cross-entropy without them, even above that of chance, and the epoch in which it is
    lowest is one that finds few. Accuracy and F1 are without weights.

    Args:
        top: the network; what is not to change in it is not trainable.
        batches: for training, of what `around` takes.
        validation: in order, for validation, of what `top` takes.
        spec: names the classes, and the one whose F1 is followed.
        recipe: how to train.
        curves: folder for the learning curves.
        title: of the progress bar.
        around: a network that ends in `top` and in which nothing else is trainable; None for `top` itself.
        checkpoint: keeps what is needed to go on after a break, and if it has that, training goes on.

    Raises:
        UserError: the loss becomes infinite or NaN, or class weights do not fit the classes.
    """
    before = checkpoint.read() if checkpoint else None
    seconds_before = before.facts["elapsed_s"] if before else 0.0
    started = time.perf_counter() - seconds_before
    weights = class_weights(recipe.class_weights, spec.classes, batches.targets)
    trained = top if around is None else around
    _compile(top, trained, recipe, len(batches), spec)
    if recipe.time_budget_s is not None:
        within = recipe.time_budget_s, recipe.epochs, trained, top, batches, validation
        epochs = before.facts["epochs"] if before else epochs_within(*within)
        recipe = replace(recipe, epochs=epochs, warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs)
        _compile(top, trained, recipe, len(batches), spec)
    best = _BestEpoch(top, recipe, started, title)
    averages = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if recipe.averaging else []
    history = LearningCurves(curves, before.facts["history"] if before else ())
    if before:
        _resume(trained, before, best, averages, recipe.epochs)
        print(f"       {title}: training goes on after epoch {len(best.seconds)} of {recipe.epochs}", flush=True)
    done = len(best.seconds)
    saving = [_Saving(checkpoint, started, recipe.epochs, best, history)] if checkpoint else []
    trained.fit(
        batches.feed(weights, done),
        steps_per_epoch=batches.steps,
        initial_epoch=done,
        epochs=done if best.stopped else recipe.epochs,
        callbacks=[*averages, _Validation(top, validation, weights), history, best, *saving],  # in this order
        shuffle=False,  # `batches` shuffles
        verbose=0,
    )
    chance = chance_loss(validation.targets, recipe.label_smoothing, weights)
    trainable = sum(math.prod(variable.shape) for variable in top.trainable_variables)
    return Outcome(
        epochs=recipe.epochs,
        best_epoch=best.epoch,
        best=best.figures,
        chance_loss=round(chance, 6),
        trainable=trainable,
        seconds_per_epoch=best.seconds,
        one_class_epochs=best.one_class,
        stopped=best.stopped,
        collapsed=_collapse(best, chance),
        resumed_after=done,
        seconds_before=seconds_before,
    )


def predict(top: keras.Model, inputs: Batches) -> Array:
    """Return class probabilities, float32 (n, classes), of `top` on batches in order."""
    logits = top.predict(inputs.feed(), verbose=0)
    return np.array(ops.softmax(logits), np.float32)
