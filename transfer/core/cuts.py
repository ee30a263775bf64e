"""The backbones' names and cuts. Apart from the networks, so that params.yaml is checked without loading Keras."""

import csv
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

from transfer.core.errors import UserError
from transfer.core.files import write_json
from transfer.core.strict import validate

KERAS = "keras:"
"""Begins the name of a backbone that is a network of keras.applications."""
HUB = "hub:"
"""Begins the name of a backbone that is a preset of KerasHub."""
FOLDERS = f"{Path('data', 'backbones')}/"
"""Begins the name of a backbone that is a folder. DVC watches all of these, as it cannot watch what may be a name."""
SOURCE = re.compile(
    rf"{HUB}[\w.-]+|hf://[\w.-]+/[\w.-]+|kaggle://[\w-]+/[\w.-]+/keras/[\w.-]+(/\d+)?|{FOLDERS}\w[\w.-]*"
)
"""The names of backbones that KerasHub loads, with a form and no list."""
HUB_PRESETS = Path(__file__).with_name("hub_presets.csv")
USUAL_SIZE = 224  # pixels: of a backbone whose own size is not known before it is loaded
KERAS_NETWORKS = Path(__file__).with_name("keras_networks.csv")
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


@dataclass(frozen=True)
class Facts:
    """What is known of a backbone without building it.

    `cuts` are named from the pixels upwards, each after the last block that stays frozen: "stem" is what stands before
    the first block, "block3" or "stage3" the end of the third stage (of the third encoder block in a Vision
    Transformer), "stage3.block2" that of the second block in it, and "top" the end of the backbone. Where the last
    stage ends at the top, "top" names the place. `default` is the cut that "auto" means, behind about two thirds of the
    layers. Images are square: `trained_size` is what the backbone was trained at, `smallest_size` what it takes at
    least, in pixels, and each size is a multiple of `multiple`. `values_a_pixel` is the number of activations at the
    default cut for each pixel of an image, rounded up, and `most_values` that at any. `parameters` are without the
    classifier; `transformer` tells whether there are blocks with attention. `url` and `hash` (MD5 or SHA-256, if there
    is one) are those of the file of weights that keras.applications downloads.
    """

    cuts: tuple[str, ...]
    default: str
    trained_size: int
    parameters: int
    values_a_pixel: float = 0.6
    most_values: float = 16.0  # 64 channels of the first block of VGG16 at half the size, or 256 at a quarter
    smallest_size: int = 32
    multiple: int = 1
    transformer: bool = False
    url: str = ""
    hash: str = ""


def _read_keras_networks() -> dict[str, Facts]:
    """Read what `benchmarks.keras_networks` found out about the networks of keras.applications."""
    with KERAS_NETWORKS.open(encoding="utf-8", newline="") as file:
        return {
            row["name"]: Facts(
                cuts=tuple(row["cuts"].split()),
                default=row["default"],
                trained_size=int(row["trained_size"]),
                parameters=int(row["parameters"]),
                values_a_pixel=float(row["values_a_pixel"]),
                most_values=float(row["most_values"]),
                smallest_size=int(row["smallest_size"]),
                url=row["url"],
                hash=row["hash"],
            )
            for row in csv.DictReader(file)
        }


def _in_blocks(facts: Facts) -> Facts:
    """Give the ends of the stages, and no other cuts, the names that they have in a backbone with a short name."""
    cuts = tuple(cut.replace("stage", "block") for cut in facts.cuts if "." not in cut)
    return replace(facts, cuts=cuts, default=facts.default.replace("stage", "block"))


SHORT_NAMES = {
    "vgg16": "VGG16",
    "resnet50": "ResNet50",
    "resnet50v2": "ResNet50V2",
    "mobilenetv2": "MobileNetV2",
    "mobilenetv3_large": "MobileNetV3Large",
    "efficientnetb0": "EfficientNetB0",
    "efficientnetb1": "EfficientNetB1",
    "efficientnetb2": "EfficientNetB2",
    "efficientnetb3": "EfficientNetB3",
    "efficientnetv2b0": "EfficientNetV2B0",
    "convnext_tiny": "ConvNeXtTiny",
}
"""Networks of keras.applications that also have a name without `KERAS`, with the stages called blocks."""

_KERAS_NETWORKS = _read_keras_networks()
FACTS = {
    **{
        name: Facts(_lite_cuts(LITE_REPEATS[name]), "block5", size, parameters)
        for name, size, parameters in (
            ("efficientnet_lite0", 224, 3_413_024),
            ("efficientnet_lite1", 240, 4_189_344),
            ("efficientnet_lite2", 260, 4_869_168),
        )
    },
    **{name: _in_blocks(_KERAS_NETWORKS[network]) for name, network in SHORT_NAMES.items()},
    "vit_base_patch16": Facts(
        cuts=("stem", *(f"block{number}" for number in range(1, 13)), "top"),
        default="block8",
        trained_size=224,
        parameters=85_798_656,
        values_a_pixel=4.0,
        multiple=16,
        transformer=True,
    ),
    **{f"{KERAS}{network}": facts for network, facts in _KERAS_NETWORKS.items()},
}
"""All backbones, by the name that params.yaml gives them. The sizes of EfficientNet-Lite are those of its authors
(tensorflow/tpu, models/official/efficientnet/lite)."""


@dataclass(frozen=True)
class Hub:
    """A backbone that KerasHub loaded, described so that it can be built without what it was loaded from.

    `name` is what params.yaml calls it, and `sha256` that of its weights as they were loaded, "" of random ones.
    `network` is KerasHub's class with its config, as Keras serialises it, for images of `image_size` pixels. Pixels in
    0–1 are multiplied by `scale` and added to `offset`, each a number for red, green and blue. `opened` tells whether
    its layers are taken apart (`networks.backbones.opened`), `pool` how its output becomes features: by params.yaml
    from places (n, height, width, channels), from the first token, by the mean of all tokens, or as it is. For the rest
    see `Facts`.
    """

    name: str
    sha256: str
    network: dict[str, Any] = field(hash=False)
    image_size: int
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    opened: bool
    pool: Literal["places", "class_token", "tokens", "none"]
    cuts: tuple[str, ...]
    default: str
    parameters: int


Named = str | Hub
"""A backbone: the name of one of `FACTS`, or the description of one that KerasHub loaded."""


@dataclass(frozen=True)
class Found:
    """What the stage weights wrote of the backbone."""

    backbone: Named

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(asdict(self), path)

    @classmethod
    def read(cls, path: Path) -> "Found":
        """Read what `write` wrote."""
        return validate(cls, json.loads(path.read_text(encoding="utf-8")), path)


def known_backbone(name: str, found: Path) -> Named | None:
    """Return a backbone as far as it is known without loading it; None if the stage weights has yet to load it.

    `found` is where that stage wrote what it found, of this backbone or of another.
    """
    if not is_source(name):
        return name
    backbone = Found.read(found).backbone if found.is_file() else None
    return backbone if isinstance(backbone, Hub) and backbone.name == name else None


def is_source(name: str) -> bool:
    """Tell whether the name of a backbone says where KerasHub loads it from."""
    return name.startswith((HUB, "hf://", "kaggle://", FOLDERS))


def read_hub_presets() -> dict[str, dict[str, str]]:
    """Return what `benchmarks.hub_presets` found out about KerasHub's presets: parameters, size, family, by name."""
    with HUB_PRESETS.open(encoding="utf-8", newline="") as file:
        return {f"{HUB}{row['name']}": row for row in csv.DictReader(file)}


def source_size(name: str) -> int:
    """Return the size in pixels that a backbone was trained at, as far as that is known before it is loaded.

    A folder's config.json may say so, and the table of KerasHub's presets; otherwise it is `USUAL_SIZE`.
    """
    if name.startswith(HUB):
        return int(read_hub_presets().get(name, {}).get("trained_size", USUAL_SIZE))
    config = Path(name, "config.json")
    if not name.startswith(FOLDERS) or not config.is_file():
        return USUAL_SIZE
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except ValueError:
        return USUAL_SIZE  # the stage weights says what is wrong
    return _size_in(content) or USUAL_SIZE


def _size_in(config: Any) -> int | None:
    """Find an image size in a config of KerasHub (inside "config"), Transformers or timm (channels, height, width)."""
    if not isinstance(config, dict):
        return None
    for key, place in (("image_shape", 0), ("image_size", 0), ("input_size", -1)):
        size = config.get(key)
        size = size[place] if isinstance(size, list) and size else size
        if isinstance(size, int):
            return size
    return next((size for value in config.values() if (size := _size_in(value))), None)


CUTS = {name: facts.cuts for name, facts in FACTS.items() if not name.startswith(KERAS)}
"""The backbones with short names, and their cuts."""


def follow_backbone(values: dict[str, Any]) -> dict[str, Any]:
    """Return the content of params.yaml with what suits the backbone for an auto of `image_size` or `weights`.

    That is the size that it was trained at, as far as it is known, and packaged weights if there are any, or those at
    the source. `Params` refuses unknown backbones.
    """
    backbone = str(values.get("backbone"))
    weights = "preset" if is_source(backbone) else "imagenet"
    own = {
        "image_size": FACTS[backbone].trained_size if backbone in FACTS else source_size(backbone),
        "weights": "packaged" if backbone in LITE_REPEATS else weights,
    }
    return values | {key: value for key, value in own.items() if values.get(key) == "auto"}


def resolve_cut(backbone: Named, cut: str) -> str:
    """Turn "auto" into the name of a backbone's default cut; any other name stays as it is.

    Raises:
        UserError: the backbone has no such cut.
    """
    facts = backbone if isinstance(backbone, Hub) else FACTS[backbone]
    name = backbone.name if isinstance(backbone, Hub) else backbone
    cut = facts.default if cut == "auto" else cut
    if cut != "input" and cut not in facts.cuts:
        raise UserError(f"expected a cut of {name} (input, {', '.join(facts.cuts)}), received {cut!r}")
    return cut
