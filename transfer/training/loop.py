"""Training of a network's top on what its trunk gives."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops

from transfer.core.arrays import Floats
from transfer.core.params import IMBALANCED
from transfer.training.batches import Batches
from transfer.training.budget import epochs_within
from transfer.training.callbacks import BestEpoch, LearningCurves, Saving, Validation, changing
from transfer.training.checkpoints import TrainingState
from transfer.training.metrics import F1, PredictedClasses
from transfer.training.recipe import Job, Recipe, make_optimizer
from transfer.training.targets import require_class_weights


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


class CrossEntropy(keras.losses.CategoricalCrossentropy):
    """Cross-entropy of targets and logits, (n, classes), in which each class has a weight.

    An image between classes counts as so much of an image of each, with the weight of each: its loss is the sum over
    the classes of target × weight × -log(probability). Soft labels, and those of mixed images, are thus weighted as the
    hard labels that they stand for. Without weights they are all 1.
    """

    def __init__(self, smoothing: float, weights: Floats | None) -> None:
        super().__init__(from_logits=True, label_smoothing=smoothing)
        self._weights = weights

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each image, (n,)."""
        if self._weights is None:
            return super().call(y_true, y_pred)
        targets, images = weighted(y_true, self._weights)
        # Smoothing, and TensorFlow's gradient, need targets that add up to 1.
        return images * super().call(targets, y_pred)


def weighted(targets: keras.KerasTensor, weights: Floats) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return targets (n, classes) tilted by the weights of the classes, adding up to 1, and each image's weight."""
    tilted = targets * weights
    images = ops.sum(tilted, axis=-1)
    return tilted / images[:, None], images


def chance_loss(targets: Floats, smoothing: float, weights: Floats | None = None) -> float:
    """Return the lowest cross-entropy (natural logarithm) that predicting the same for every image can reach.

    `targets` are float32 (n, classes). With weights of the classes, float32 (classes,), it is weighted as in training.
    """
    images = np.ones(len(targets))
    if weights is not None:
        targets, images = (ops.convert_to_numpy(part) for part in weighted(targets, weights))
    mean = images @ (targets * (1 - smoothing) + smoothing / targets.shape[1]) / len(targets)  # (classes,)
    present = mean[mean > 0]
    return float(-np.sum(present * np.log(present / np.sum(mean))))


def class_weights(wanted: str | dict[str, float], classes: Sequence[str], targets: Floats) -> Floats | None:
    """Return what the param class_weights comes to: a weight for each class, float32 (classes,), or None.

    "balanced" is images / (classes × images of the class) (King and Zeng 2001, as in scikit-learn's
    `compute_class_weight`): all classes then weigh the same, and an image 1 in the mean. "auto" is that where the
    largest class has `IMBALANCED` times the images of the smallest, or more, which is said, and none otherwise.

    Raises:
        UserError: a class without a weight, or a weight without a class.
    """
    counts = np.maximum(targets.sum(axis=0), 1)
    times = max(counts) / min(counts)
    if wanted == "none" or (wanted == "auto" and times < IMBALANCED):
        return None
    if wanted == "auto":
        print(
            f"class_weights: auto balances the loss: the largest class has {times:.0f} times the images of the smallest"
        )
    if isinstance(wanted, str):
        return np.array(len(targets) / (len(classes) * counts), np.float32)
    require_class_weights(wanted, classes)
    return np.array([wanted[name] for name in classes], np.float32)


def _collapse(best: BestEpoch, chance: float) -> str | None:
    """Say what is wrong with the best epoch, where it is no better than chance."""
    one_class, loss = best.rank
    if one_class:
        return "it predicts one class for every validation image"
    return f"its validation loss, {loss:.3f}, is not below that of chance, {chance:.3f}" if loss >= chance else None


def compiled(
    top: keras.Model,
    recipe: Recipe,
    steps: int,
    metrics: Sequence[str | keras.metrics.Metric] = (),
    weights: Floats | None = None,
) -> keras.Model:
    """Make a network of logits ready for `fit`, with `steps` batches in an epoch; `weights` are the classes'."""
    top.compile(
        optimizer=make_optimizer(recipe, steps),
        loss=CrossEntropy(recipe.label_smoothing, weights),
        metrics=list(metrics),
        # JAX is nothing without its compiler; TensorFlow is left without XLA, which on a CPU compiles for minutes
        jit_compile=keras.backend.backend() == "jax",
    )
    return top


def _compile(job: Job, steps: int, weights: Floats | None) -> None:
    """Compile both networks, or the one that both are, with fresh metrics and a fresh optimizer."""
    for model in {id(model): model for model in (job.top, job.trained)}.values():
        metrics = ["accuracy", F1(job.spec.positive_class), PredictedClasses(len(job.spec.classes))]
        compiled(model, job.recipe, steps, metrics, weights)
    job.trained.optimizer.build(job.trained.trainable_variables)  # or TensorFlow traces the first step twice


def _within_budget(job: Job, batches: Batches, validation: Batches, before: TrainingState | None) -> Job:
    """Return the job with as many epochs as fit into the time budget; the networks are compiled, and trained a bit."""
    recipe = job.recipe
    if recipe.time_budget_s is None:
        return job
    epochs = before.facts["epochs"] if before else epochs_within(job, batches, validation)
    return replace(job, recipe=replace(recipe, epochs=epochs))


def _resume(
    trained: keras.Model,
    before: TrainingState,
    best: BestEpoch,
    averages: Sequence[keras.callbacks.SwapEMAWeights],
    epochs: int,
) -> None:
    """Put a compiled network, its optimizer and what is noted of the best epoch into the state of a checkpoint.

    At the end of an epoch, the averaged weights are in the network and the others in the optimizer. SwapEMAWeights has
    to know that: it swaps them back when the next epoch begins (by sums, so that swapping them here would round).
    """
    best.restore(before.facts, before.arrays.get("best", []))
    for callback in averages:
        callback.set_params({"epochs": epochs})
        callback.set_model(trained)
        callback.on_epoch_end(len(best.seconds) - 1)
    for variable, value in zip(changing(trained), before.arrays["variables"], strict=True):
        variable.assign(value)


def train(job: Job, batches: Batches, validation: Batches) -> Outcome:
    """Train a network and leave in it the weights of the best epoch by validation loss.

    Class weights count in the loss, in validation as in training: a network that is trained to find a rare class more
    often than it occurs has a high cross-entropy without them, even above that of chance, and the epoch in which it is
    lowest is one that finds few. Accuracy and F1 are without weights.

    `batches` are of what `job.trained` takes, and `validation`, in order, of what `job.top` takes.

    Raises:
        UserError: the loss becomes infinite or NaN, or class weights do not fit the classes.
    """
    before = job.checkpoint.read() if job.checkpoint else None
    seconds_before, done = (before.facts["elapsed_s"], len(before.facts["seconds"])) if before else (0.0, 0)
    started = time.perf_counter() - seconds_before
    weights = class_weights(job.recipe.class_weights, job.spec.classes, batches.targets)
    _compile(job, len(batches), weights)
    if (within := _within_budget(job, batches, validation, before)) is not job:
        job = within
        _compile(job, len(batches), weights)
    best = _fit(job, batches, validation, started, before)
    chance = chance_loss(validation.targets, job.recipe.label_smoothing, weights)
    return Outcome(
        epochs=job.recipe.epochs,
        best_epoch=best.epoch,
        best=best.figures,
        chance_loss=round(chance, 6),
        trainable=sum(math.prod(variable.shape) for variable in job.top.trainable_variables),
        seconds_per_epoch=best.seconds,
        one_class_epochs=best.one_class,
        stopped=best.stopped,
        collapsed=_collapse(best, chance),
        resumed_after=done,
        seconds_before=seconds_before,
    )


def _fit(job: Job, batches: Batches, validation: Batches, started: float, before: TrainingState | None) -> BestEpoch:
    """Have Keras fit the compiled network, from the state of a checkpoint if there is one; return the best epoch."""
    epochs = job.recipe.epochs
    best = BestEpoch(job.top, job.recipe, started, job.name)
    averages = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if job.recipe.averaging else []
    history = LearningCurves(job.curves, before.facts["history"] if before else ())
    if before:
        _resume(job.trained, before, best, averages, epochs)
        print(f"       {job.name}: resuming after epoch {len(best.seconds)} of {epochs}", flush=True)
    done = len(best.seconds)
    strategy = getattr(job.trained, "distribute_strategy", None)  # TensorFlow's
    if strategy and strategy.num_replicas_in_sync == 1:  # over several devices, TensorFlow 2.21 cannot
        job.trained.steps_per_execution = len(batches)  # small networks take as long to call as to compute
    saving = [Saving(job.checkpoint, started, epochs, best, history)] if job.checkpoint else []
    job.trained.fit(
        batches.feed(done),
        steps_per_epoch=batches.steps,
        initial_epoch=done,
        epochs=done if best.stopped else epochs,
        callbacks=[*averages, Validation(job.top, validation), history, best, *saving],  # in this order
        shuffle=False,  # `batches` shuffles
        verbose=0,
    )
    return best


def predict(top: keras.Model, inputs: Batches) -> Floats:
    """Return class probabilities, float32 (n, classes), of `top` on batches in order."""
    logits = top.predict(inputs.feed(), verbose=0)
    return np.array(ops.softmax(logits), np.float32)
