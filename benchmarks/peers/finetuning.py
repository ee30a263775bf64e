"""Fine-tuning in plain PyTorch, in timm's manner: python -m benchmarks.peers.finetuning JOB

Source: timm 1.0.31 and the scripts beside it (github.com/huggingface/pytorch-image-models). Its documentation
(hfdocs/source/training_script.mdx) has one command that fine-tunes: `train.py --model resnet50 --pretrained
--batch-size 32 --epochs 30 --opt adamw --lr 1e-4 --weight-decay 0.01`. From it come optimizer, rates, epochs and batch
size; from the command there for EfficientNet-B0 dropout and drop-path of 0.2 and `--model-ema`; from the defaults of
train.py the cosine schedule, set once an epoch, with five epochs of linear warm-up from 1e-5, label smoothing of 0.1,
no weight decay for what has one dimension, the incomplete last batch of an epoch left out, and the decay of the average
of the weights, 0.9998. That average warms up (`--model-ema-warmup`, timm/utils/model_ema.py): otherwise it would be,
after 1,500 steps, three quarters of what it began with. Batch normalisation is in training mode.

Other than there: plain PyTorch, since timm needs torchvision, which does not go with the CPU build; images come in one
of the eight symmetries of the square, which hold for the default dataset, where timm crops and jitters; the epoch kept
has the lowest validation loss of the averaged weights, where timm takes their highest accuracy; float32, of which
bfloat16 saves a fifth on a CPU. Tensors are in the memory format channels_last (timm's `--channels-last`): without it
the backward pass of depthwise convolutions takes ten times as long. It trains on a GPU where there is one, with the
same order and views; what dropout drops is drawn there.
"""

import copy
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers.jobs import BATCH, CLASSES, Array, Job, Labels, Pixels, Split, Trained, main, report, rgb
from benchmarks.peers.lite0 import Lite0, load

EPOCHS, WARMUP_EPOCHS = 30, 5
LEARNING_RATE, WARMUP_LEARNING_RATE = 1e-4, 1e-5
WEIGHT_DECAY = 0.01
LABEL_SMOOTHING = 0.1
DROPOUT, DROP_PATH = 0.2, 0.2
EMA_DECAY, EMA_POWER = 0.9998, 2 / 3
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def learning_rate(epoch: int, epochs: int) -> float:
    """Return the rate of an epoch, counted from 0: after the warm-up it is LR (1 + cos(π epoch / epochs)) / 2.

    The cosine counts the epochs of the warm-up (timm/scheduler/cosine_lr.py, without `--warmup-prefix`). The warm-up
    keeps its share of a recipe that is shortened.
    """
    warmup = round(WARMUP_EPOCHS * epochs / EPOCHS)
    if epoch < warmup:
        return WARMUP_LEARNING_RATE + (LEARNING_RATE - WARMUP_LEARNING_RATE) * epoch / warmup
    return LEARNING_RATE * (1 + math.cos(math.pi * epoch / epochs)) / 2


def average_decay(step: int) -> float:
    """Return the decay of the average after a step, counted from 1: min(0.9998, 1 - step^(-2/3)).

    It is ModelEmaV3's in timm/utils/model_ema.py with the default gamma and power; the first step is copied.
    """
    return min(EMA_DECAY, 1 - math.pow(step, -EMA_POWER))


def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights, and those of batch normalisation's statistics, towards the present ones."""
    with torch.no_grad():
        state = network.state_dict()
        for name, values in averaged.state_dict().items():
            if values.is_floating_point():
                values.lerp_(state[name], 1 - decay)
            else:  # the counter of batch normalisation
                values.copy_(state[name])


def turned(images: Tensor, views: Tensor) -> Tensor:
    """Return each image (n, 3, S, S) in the view 0–7 of the square with that number (see transfer.records.views)."""
    swap, down, right = ((views & bit).bool()[:, None, None, None] for bit in (4, 2, 1))
    images = torch.where(swap, images.transpose(2, 3), images)
    images = torch.where(down, images.flip(2), images)
    return torch.where(right, images.flip(3), images)


def tensor(pixels: Pixels) -> Tensor:
    """Turn uint8 pixels (n, S, S, 1 or 3) into float32 (n, 3, S, S) in 0–1 on the device, channels last in memory."""
    return torch.from_numpy(rgb(pixels)).to(DEVICE).permute(0, 3, 1, 2)


def logits(network: nn.Module, pixels: Pixels) -> Tensor:
    """Return logits float32 (n, classes) of uint8 pixels (n, S, S, 1 or 3), in inference mode, not on the device."""
    network.eval()
    with torch.inference_mode():
        rows = range(0, len(pixels), BATCH)
        return torch.cat([network(tensor(pixels[row : row + BATCH])) for row in rows]).cpu()


def make_optimizer(network: nn.Module) -> torch.optim.Optimizer:
    """AdamW; shifts, scales and biases, which have one dimension, are not decayed."""
    parameters = list(network.parameters())
    groups = [
        {"params": [values for values in parameters if values.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [values for values in parameters if values.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE)


class Fitting:
    """A network in training, its optimizer and the average of its weights."""

    def __init__(self, network: Lite0, seed: int) -> None:
        self.network = network.to(DEVICE, memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network)
        self._optimizer = make_optimizer(self.network)
        self._order = torch.Generator().manual_seed(seed)
        self._steps = 0

    def epoch(self, pixels: Pixels, labels: Labels, rate: float) -> float:
        """Train for an epoch and return the mean loss. An incomplete last batch is left out."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        order = torch.randperm(len(labels), generator=self._order).numpy()
        batch = min(BATCH, len(labels))
        rows = range(0, len(labels) - batch + 1, batch)
        chosen = [order[row : row + batch] for row in rows]
        return float(np.mean([self._step(pixels[part], labels[part]) for part in chosen]))

    def _step(self, pixels: Pixels, labels: Labels) -> float:
        views = torch.randint(8, (len(labels),), generator=self._order).to(DEVICE)
        outputs = self.network(turned(tensor(pixels), views))
        loss = functional.cross_entropy(outputs, torch.from_numpy(labels).to(DEVICE), label_smoothing=LABEL_SMOOTHING)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._steps += 1
        average(self.averaged, self.network, average_decay(self._steps))
        return float(loss.detach())


def train(job: Job, images: Split, validation: Split) -> Trained:
    """Fine-tune all of the network, and keep the averaged weights of the best epoch."""
    torch.manual_seed(job.seed)
    torch.use_deterministic_algorithms(True)
    network = Lite0(CLASSES, DROPOUT, DROP_PATH)
    load(network, Path(job.weights))
    fitting, epochs = Fitting(network, job.seed), job.epochs(EPOCHS)
    best_loss, best_epoch, best = math.inf, 0, fitting.averaged
    for epoch in range(epochs):
        loss = fitting.epoch(images.pixels, images.labels, learning_rate(epoch, epochs))
        outputs = logits(fitting.averaged, validation.pixels)
        validation_loss = functional.cross_entropy(outputs, torch.from_numpy(validation.labels)).item()
        report(epoch + 1, epochs, loss, validation_loss)
        if validation_loss < best_loss:
            best_loss, best_epoch, best = validation_loss, epoch + 1, copy.deepcopy(fitting.averaged)

    def predict(pixels: Pixels) -> Array:
        probabilities: Array = logits(best, pixels).softmax(dim=1).numpy()
        return probabilities

    device = {"device": torch.cuda.get_device_name()} if DEVICE.type == "cuda" else {}
    return Trained(predict, {"epochs": epochs, "best_epoch": best_epoch, **device})


if __name__ == "__main__":
    main(train)
