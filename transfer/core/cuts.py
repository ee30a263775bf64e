"""The backbones' names and cuts. Apart from the networks, so that params.yaml is checked without loading Keras."""

from string import ascii_lowercase
from typing import Any

from transfer.core.errors import UserError

LITE_REPEATS = {
    "efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
}
"""Blocks in each stage of an EfficientNet-Lite. The first and the last stage are the same in all of them."""


def _lite_cuts(repeats: tuple[int, ...]) -> tuple[str, ...]:
    """After each block: block2a is the first of the second stage, and the last of a stage has the stage's name."""
    blocks = [f"block{n}{end}" for n, count in enumerate(repeats, 1) for end in (*ascii_lowercase[: count - 1], "")]
    return ("stem", *blocks, "top")


def _cuts(blocks: int) -> tuple[str, ...]:
    return ("stem", *(f"block{number}" for number in range(1, blocks + 1)), "top")


CUTS: dict[str, tuple[str, ...]] = {
    **{name: _lite_cuts(repeats) for name, repeats in LITE_REPEATS.items()},
    "vgg16": ("block1", "block2", "block3", "block4", "top"),
    "resnet50": _cuts(3),
    "resnet50v2": _cuts(4),
    "mobilenetv2": _cuts(7),
    "mobilenetv3_large": _cuts(6),
    "efficientnetb0": _cuts(7),
    "efficientnetb1": _cuts(7),
    "efficientnetb2": _cuts(7),
    "efficientnetb3": _cuts(7),
    "efficientnetv2b0": _cuts(6),
    "convnext_tiny": _cuts(3),
    "vit_base_patch16": _cuts(12),
}
"""Name of a backbone: its cuts from the pixels upwards. A cut is named after the last block that stays frozen.

"stem" is what stands before the first block, "block3" the end of the third stage (of the third encoder block in a
Vision Transformer) and "top" the end of the backbone. Where the last stage ends at the top, "top" names the place.
"""

DEFAULT_CUTS = dict.fromkeys(CUTS, "block5") | {
    "vgg16": "block4",
    "resnet50": "block3",
    "resnet50v2": "block3",
    "convnext_tiny": "block3",
    "vit_base_patch16": "block8",
}
"""The cut that "auto" means: the end of a stage, behind about two thirds of the layers or somewhat more."""

TRAINED_SIZES = dict.fromkeys(CUTS, 224) | {
    "efficientnet_lite1": 240,
    "efficientnet_lite2": 260,
    "efficientnetb1": 240,
    "efficientnetb2": 260,
    "efficientnetb3": 300,
}
"""Height and width in pixels of the images that a backbone was trained on, by the documentation of keras.applications
and KerasHub, and for the Lite ones by their authors (tensorflow/tpu, models/official/efficientnet/lite)."""

VALUES_A_PIXEL = dict.fromkeys(CUTS, 0.6) | {
    "vgg16": 2.0,
    "resnet50": 4.0,
    "resnet50v2": 1.0,
    "convnext_tiny": 1.5,
    "vit_base_patch16": 4.0,
}
"""Most activations at the default cut for each pixel of an image."""
MOST_VALUES_A_PIXEL = 16
"""At any cut: 64 channels of the first block of VGG16 at half the size, or 256 of ResNet50 at a quarter."""

SIZE_MULTIPLES: dict[str, int] = {"vit_base_patch16": 16}
"""Backbones that take only images whose size is a multiple of a number, and that number."""


def follow_backbone(values: dict[str, Any]) -> dict[str, Any]:
    """Return the content of params.yaml with what suits the backbone for an auto of `image_size` or `weights`.

    That is the size that it was trained at, and packaged weights if there are any. `Params` refuses unknown backbones.
    """
    backbone = str(values.get("backbone"))
    own = {
        "image_size": TRAINED_SIZES.get(backbone, 224),
        "weights": "packaged" if backbone in LITE_REPEATS else "imagenet",
    }
    return values | {key: value for key, value in own.items() if values.get(key) == "auto"}


def resolve_cut(backbone: str, cut: str) -> str:
    """Turn "auto" into the name of a backbone's default cut; any other name stays as it is.

    Raises:
        UserError: the backbone has no such cut.
    """
    cut = DEFAULT_CUTS[backbone] if cut == "auto" else cut
    if cut != "input" and cut not in CUTS[backbone]:
        raise UserError(f"expected a cut of {backbone} (input, {', '.join(CUTS[backbone])}), received {cut!r}")
    return cut
