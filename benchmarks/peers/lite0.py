"""EfficientNet-Lite0 in plain PyTorch, with the weights of the packaged file.

Modules have the names of the tensors in that file, so that its state fits as it is. As timm's `tf_efficientnet_lite0`
it pads as TensorFlow does, and can drop the path through a block (stochastic depth, Huang et al. 2016,
arXiv:1603.09382), more often the deeper it lies.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from transfer.networks.backbones.legacy_pickle import read_tensors

BATCH_NORM_EPSILON = 1e-3
STEM_CHANNELS, TOP_CHANNELS = 32, 1280
IMAGENET_CLASSES = 1000
STAGES = (  # repeats, channels, kernel, stride of the first block, expansion
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)


class SameConv(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's "same": an odd pixel goes to the right and the bottom."""

    def __init__(self, entry: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(entry, channels, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Take (n, entry, height, width); give (n, channels, height / stride, width / stride), rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            height, width = ((-(-size // stride) - 1) * stride + kernel - size for size in x.shape[2:])
            x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


class Block(nn.Module):
    """Inverted residual block: expand, convolve depthwise, project; added to its input where the shapes agree."""

    def __init__(self, entry: int, channels: int, kernel: int, stride: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        inner = entry * expansion
        self.drop_path, self.adds = drop_path, stride == 1 and entry == channels
        if expansion > 1:
            self._expand_conv = SameConv(entry, inner, 1)
            self._bn0 = nn.BatchNorm2d(inner, BATCH_NORM_EPSILON)
        self._depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner)
        self._bn1 = nn.BatchNorm2d(inner, BATCH_NORM_EPSILON)
        self._project_conv = SameConv(inner, channels, 1)
        self._bn2 = nn.BatchNorm2d(channels, BATCH_NORM_EPSILON)

    def forward(self, entry: Tensor) -> Tensor:
        """Take (n, entry, height, width); give (n, channels, height / stride, width / stride)."""
        x = entry
        if hasattr(self, "_expand_conv"):
            x = functional.relu6(self._bn0(self._expand_conv(x)))
        x = functional.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return entry + self._dropped(x) if self.adds else x

    def _dropped(self, x: Tensor) -> Tensor:
        """In training, drop the path of some images, and scale up that of the others so that the mean stays."""
        if not self.training or self.drop_path == 0:
            return x
        keep = 1 - self.drop_path
        return x * torch.empty(len(x), 1, 1, 1, device=x.device).bernoulli_(keep).div_(keep)


class Lite0(nn.Module):
    """The network: pixels float32 (n, 3, S, S) in 0–1 to logits (n, classes). The weights are random: see `load`.

    Args:
        classes: number of logits.
        dropout: before the classifier.
        drop_path: probability with which the path through a block is dropped, of the last; the others in proportion.
    """

    def __init__(self, classes: int = IMAGENET_CLASSES, dropout: float = 0.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, STEM_CHANNELS, 3, 2)
        self._bn0 = nn.BatchNorm2d(STEM_CHANNELS, BATCH_NORM_EPSILON)
        blocks: list[Block] = []
        entry, total = STEM_CHANNELS, sum(stage[0] for stage in STAGES)
        for repeats, channels, kernel, stride, expansion in STAGES:
            for i in range(repeats):
                drop = drop_path * len(blocks) / total
                blocks.append(Block(entry, channels, kernel, stride if i == 0 else 1, expansion, drop))
                entry = channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(entry, TOP_CHANNELS, 1)
        self._bn1 = nn.BatchNorm2d(TOP_CHANNELS, BATCH_NORM_EPSILON)
        self.dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(TOP_CHANNELS, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Give logits (n, classes)."""
        x = (pixels * 255 - 127) / 128  # as it was trained
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))
        return self._fc(self.dropout(x))


def load(network: Lite0, path: Path) -> None:
    """Fill a network from the packaged PyTorch file; a classifier of other than ImageNet's classes stays as it is.

    Raises:
        UserError: the file is not legacy PyTorch.
        RuntimeError: it holds other tensors than this network's.
    """
    state = {name: torch.from_numpy(values) for name, values in read_tensors(path).items()}
    if network._fc.out_features != IMAGENET_CLASSES:
        state |= {f"_fc.{name}": values for name, values in network._fc.state_dict().items()}
    network.load_state_dict(state)
