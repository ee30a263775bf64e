"""What is to be trained, and how."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras

from transfer.core.spec import Spec
from transfer.training.checkpoints import Checkpoint

NOT_DECAYED = [r"^(?!.*kernel)"]
"""All but kernels: shifts, scales (ConvNeXt's of its layers have no name), position embeddings and the class token are
few, and pulling them to 0 does not regularise."""

AVERAGED_PARTS = 10
"""The moving average reaches back over 1 / (1 - momentum) steps, but at most over a tenth of the training. With a long
memory and few steps, the average would be little else than the weights that training began with."""


EPOCHS = {"head": 40, "finetuned": 18}
"""Epochs of a model where params.yaml says auto, with few training images. What is trained from scratch has no auto:
with fewer epochs its accuracy falls, which would flatter the others."""
FEW, MANY = 4000, 12_000
"""Training images up to which, and from which on, their number does not change the epochs."""


@dataclass(frozen=True)
class Recipe:
    """How to train: epochs, peak learning rate of AdamW, its weight decay, label smoothing, clipping.

    `warmup` is the fraction of the training in which the learning rate rises.
    `class_weights` is "none", "balanced" or a weight for each class by its name, for the loss. `averaging` is the
    momentum of the exponential moving average of the weights, 0 for none; a short training has a smaller one (see
    `averaging_within`). `patience` is the number of epochs without a better one, and `time_budget_s` the seconds, after
    which training stops.
    """

    epochs: int
    lr: float
    warmup: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float = 1.0
    class_weights: str | dict[str, float] = "none"
    averaging: float = 0.0
    patience: int | None = None
    time_budget_s: float | None = None


@dataclass(frozen=True)
class Job:
    """What is trained, and how; all but the data.

    Args:
        name: of the model, for the progress bar and messages.
        top: the network, inputs to logits; what is not to change in it is not trainable.
        spec: names the classes, and the one whose F1 is followed.
        recipe: how to train.
        curves: folder for the learning curves.
        around: a network that ends in `top` and in which nothing else is trainable; None for `top` itself.
        checkpoint: keeps what is needed to go on after a break, and if it has that, training goes on.
    """

    name: str
    top: keras.Model
    spec: Spec
    recipe: Recipe
    curves: Path
    around: keras.Model | None = None
    checkpoint: Checkpoint | None = None

    @property
    def trained(self) -> keras.Model:
        """What `fit` runs: `around`, or `top`."""
        return self.top if self.around is None else self.around


def planned_epochs(wanted: int | Literal["auto"], model: str, images: int) -> int:
    """Return the epochs for so many training images. Auto: between `FEW` and `MANY` as many as see the same number of
    images in all; from there on a third of `EPOCHS`, as with less the accuracy falls (docs/training.md).
    """
    return round(EPOCHS[model] * FEW / min(max(images, FEW), MANY)) if wanted == "auto" else wanted


def averaging_within(momentum: float, steps: int) -> float:
    """Return the momentum of the moving average that serves a training of so many steps: the one wanted, or less."""
    return min(momentum, max(0.0, 1 - AVERAGED_PARTS / steps))


def make_optimizer(recipe: Recipe, steps: int) -> keras.Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101): linear warm-up, cosine decay to 0, gradients clipped."""
    total = recipe.epochs * steps
    warm_up = min(round(recipe.warmup * total), total - 1)
    decay = total - warm_up
    if warm_up:
        rate = keras.optimizers.schedules.CosineDecay(0.0, decay, warmup_target=recipe.lr, warmup_steps=warm_up)
    else:
        rate = keras.optimizers.schedules.CosineDecay(recipe.lr, decay)
    optimizer = keras.optimizers.AdamW(
        rate,
        weight_decay=recipe.weight_decay,
        global_clipnorm=recipe.clip_norm,
        use_ema=recipe.averaging > 0,
        ema_momentum=averaging_within(recipe.averaging, total),
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer
