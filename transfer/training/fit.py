"""What the training stages have in common: train a network, keep its files, say how it went."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transfer.core.cost import measured
from transfer.core.errors import UserError
from transfer.core.files import write_json
from transfer.networks.lora import merge_updates
from transfer.networks.model_files import ModelFiles, save
from transfer.networks.network import Network, build
from transfer.training.batches import Batches
from transfer.training.loop import Outcome, predict, train
from transfer.training.memory import keep_freed_memory
from transfer.training.recipe import Job, Recipe, averaging_within
from transfer.training.strategy import training_on


@dataclass(frozen=True)
class Outputs:
    """Where a training stage writes beside learning curves: the model's files, figures and cost."""

    model: ModelFiles
    metrics: Path
    cost: Path


def in_float32(network: Network) -> Network:
    """Return a network in single precision: another one, with the same weights, where this computes in 16 bits."""
    if network.top.dtype_policy.compute_dtype == "float32":
        return network
    with training_on("float32", ()):
        other = build(network.architecture, network.cut)
    other.whole.set_weights(network.whole.get_weights())
    return other


def fit(
    job: Job, network: Network, data: Callable[[], tuple[Batches, Batches]], outputs: Outputs, may_collapse: bool
) -> None:
    """Train the top of `network` on what `data` gives (training, validation), write everything and print a summary.

    The cost counts the time that `data` takes: the baselines' images are averaged down there, as embed's cost counts
    the pass of the trunk.

    Raises:
        UserError: training diverged; or the best epoch is no better than chance, and `may_collapse` is False.
    """
    keep_freed_memory()
    with measured(outputs.cost) as cost:
        batches, validation = data()
        outcome = train(job, batches, validation)
        if outcome.resumed_after:
            cost |= {"seconds_before": outcome.seconds_before, "resumed_after_epoch": outcome.resumed_after}
        cost["seconds_per_epoch"] = round(float(np.median(outcome.seconds_per_epoch)), 3)
        cost["images_per_second"] = round(len(batches.targets) / float(np.median(outcome.seconds_per_epoch)), 1)
    merge_updates(network.whole)
    predicted = predict(in_float32(network).top, validation)
    save(network, predicted, outputs.model)
    total = network.whole.count_params()
    write_json({"parameters": total, **outcome.figures()}, outputs.metrics)
    uncertain = int(np.sum(batches.targets.max(axis=1) < 1))
    print(f"read   {len(batches.targets)} images to train on, {len(validation.targets)} to validate")
    print(f"       {uncertain} of the training images have soft labels")
    print(f"       {outcome.trainable:,} of {total:,} parameters trainable, {cost['seconds_per_epoch']} s an epoch")
    print(f"wrote  {outputs.model.weights}")
    _say(outcome, job.recipe, len(batches))
    if job.checkpoint:
        job.checkpoint.remove()
    if outcome.collapsed and not may_collapse:
        raise UserError(
            f"{job.name}: no better than chance ({outcome.collapsed}); try a lower learning rate or more epochs "
            "(params.yaml)"
        )


def _say(outcome: Outcome, recipe: Recipe, steps: int) -> None:
    """Print what training of so many steps an epoch came to, and what of it was cut."""
    figures = ", ".join(f"{key} {value:.4f}" for key, value in outcome.best.items())
    print(f"       epoch {outcome.best_epoch} of {outcome.epochs} is kept: validation {figures}")
    print(f"       chance-level loss: {outcome.chance_loss:.4f}")
    if outcome.epochs < recipe.epochs:
        print(f"       CUT: {outcome.epochs} of {recipe.epochs} epochs fit into time_budget_s")
    total = outcome.epochs * steps
    momentum = averaging_within(recipe.averaging, total)
    if momentum < recipe.averaging:
        why = f"over {total} steps, {recipe.averaging} would keep too much of the first ones"
        print(f"       averaging: {momentum:.2f}, as {why}")
    if outcome.stopped:
        print(f"       STOPPED after epoch {len(outcome.seconds_per_epoch)} of {outcome.epochs}: {outcome.stopped}")
    if outcome.one_class_epochs:
        print(f"       epochs {outcome.one_class_epochs} predicted one class only, and were not kept")
    if outcome.collapsed:
        print(f"       COLLAPSED: {outcome.collapsed}")
