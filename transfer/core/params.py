"""params.yaml, read strictly into frozen dataclasses: a section of the file is a class, and a key a field."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError, WrapValidator, model_validator
from pydantic.dataclasses import dataclass

from transfer.core.cards import Symmetry
from transfer.core.cuts import CUTS, FACTS, FOLDERS, HUB, KERAS, SOURCE, follow_backbone, read_hub_presets
from transfer.core.strict import STRICT, Float, Int, Sha256, Str, load_yaml, validate

Positive = Annotated[Float, Field(gt=0)]
Rate = Annotated[Float, Field(gt=0, le=1)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
Level = Annotated[Float, Field(ge=0, le=1)]
Count = Annotated[Int, Field(ge=1)]
Units = tuple[Count, ...]
LabelKind = Literal["auto", "hard", "soft"]
Pooling = Literal["average", "max", "average_max"]
Views = Literal["all", 1, 2, 4, 8]
Square = Literal["auto", "squash", "crop", "pad"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
Format = Literal["openvino", "onnx", "saved_model", "litert_float32", "litert_float16", "litert_int8"]
KnownWeights = Literal["packaged", "imagenet", "preset", "none"]
IMBALANCED = 10
"""How many times larger than the smallest class the largest is where `class_weights: auto` balances them."""


@dataclass(frozen=True, config=STRICT)
class WeightsFile:
    """Weights of the user's own: a Keras file (.h5 or .weights.h5) and its SHA-256 (hexadecimal)."""

    file: Str
    sha256: Sha256


@dataclass(frozen=True, config=STRICT)
class WeightsPin:
    """The weights that KerasHub loads, if their SHA-256 (hexadecimal) is this: see `core.cuts.Hub`."""

    sha256: Sha256


@dataclass(frozen=True, config=STRICT)
class Pixels:
    """Mean and standard deviation of red, green and blue, of pixels in 0–1, that a backbone has them normalised by."""

    mean: tuple[Level, Level, Level]
    std: tuple[Rate, Rate, Rate]


AnyWeights = str | WeightsFile | WeightsPin


def _or(expected: str) -> WrapValidator:
    """Say in one line what a value may be, where pydantic has a line for each of several types."""

    def read(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"expected {expected}, received {value!r}") from None

    return WrapValidator(read)


Epochs = Annotated[Literal["auto"] | Count, _or("auto or a whole number of at least 1")]
"""`training.recipe.planned_epochs` makes a number of an auto."""
ImageSize = Annotated[Int, Field(ge=32, le=1024), _or("auto or an integer from 32 to 1,024")]
"""`follow_backbone` has replaced an auto."""
Weights = Annotated[
    KnownWeights | WeightsFile | WeightsPin,
    _or(f"auto, {', '.join(get_args(KnownWeights))}, {{file: PATH, sha256: 64 hexadecimal digits}} or {{sha256: …}}"),
]
ClassName = Annotated[str, BeforeValidator(str)]
ClassWeight = Annotated[Float, Field(gt=0, lt=1e6)]
ClassWeights = Annotated[
    Literal["auto", "none", "balanced"] | Annotated[dict[ClassName, ClassWeight], Field(min_length=1)],
    _or("auto, none, balanced or a positive weight for each class"),
]


@dataclass(frozen=True, config=STRICT)
class Split:
    """Fractions of all images."""

    test: Annotated[Float, Field(gt=0, lt=1)]
    validation: Annotated[Float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _leave_some(self) -> "Split":
        if self.test + self.validation >= 1:
            raise ValueError(f"test + validation to be less than 1, received {self.test} + {self.validation}")
        return self


@dataclass(frozen=True, config=STRICT)
class Duplicates:
    """When two images count as near-duplicates: see `dataset.duplicates`. A distance of null looks for none.

    A dataset that gives its splits may have copies across them, which are removed; more than `max_removed_fraction` of
    all images are an error.
    """

    distance: Annotated[Int, Field(ge=0, le=16)] | None
    correlation: Annotated[Float, Field(gt=0, le=1)]
    max_removed_fraction: Annotated[Float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class Head:
    """The fully connected head on the frozen backbone, and its training.

    `pooling` is how the backbone's activations become features: by their mean over all places, by their largest, or
    both side by side. ConvNeXt and the Vision Transformer have their own way, whatever is asked for.
    """

    pooling: Pooling
    units: Units
    dropout: Fraction
    epochs: Epochs
    lr: Rate
    weight_decay: Annotated[Float, Field(ge=0)]
    label_smoothing: Fraction
    views: Views


@dataclass(frozen=True, config=STRICT)
class Augmentation:
    """Random changes of training images on the fly; 0 switches one off. Flips follow the dataset's symmetry.

    `rotation` is the largest angle, as a fraction of a full turn; `crop` the largest fraction of the side that is cut
    off; `brightness` and `contrast` the largest change, as a fraction; `rand_augment` the number of RandAugment's
    operations; `mixup` and `cutmix` the parameter of their beta distribution.
    """

    rotation: Annotated[Float, Field(ge=0, le=0.5)]
    crop: Annotated[Float, Field(ge=0, lt=1)]
    brightness: Annotated[Float, Field(ge=0, le=1)]
    contrast: Annotated[Float, Field(ge=0, lt=1)]
    rand_augment: Annotated[Int, Field(ge=0, le=8)]
    mixup: Annotated[Float, Field(ge=0, le=8)]
    cutmix: Annotated[Float, Field(ge=0, le=8)]


@dataclass(frozen=True, config=STRICT)
class Finetune:
    """Training of the backbone's blocks above the cut, together with the head.

    `method` says what of the blocks is trained: all, or low-rank updates of a transformer's kernels.
    `augment` says what is trained on: the cached views of each image, changes on the fly (the trunk then runs in every
    training step), or each image as it is. At the cut "input" nothing is frozen and nothing is cached.

    `averaging` is the momentum of the exponential moving average of the weights, which is what is judged and kept; 0
    keeps the weights themselves. Training stops after `patience` epochs without a better one; null never stops it.
    """

    cut: Str
    method: Literal["full", "lora"]
    augment: Literal["cached", "on_the_fly", "none"]
    augmentation: Augmentation
    epochs: Epochs
    warmup: Fraction
    weight_decay: Annotated[Float, Field(ge=0)]
    label_smoothing: Fraction
    clip_norm: Positive
    averaging: Fraction
    patience: Count | None
    views: Views


@dataclass(frozen=True, config=STRICT)
class Baseline:
    """What the networks trained from scratch have in common. They see the image averaged down to `image_size`."""

    image_size: Annotated[Int, Field(ge=8, le=1024)]
    dropout: Fraction
    epochs: Count
    lr: Rate


@dataclass(frozen=True, config=STRICT)
class Ann(Baseline):
    """The fully connected baseline: the image flattened, and dense layers of `units`."""

    units: Units


@dataclass(frozen=True, config=STRICT)
class Cnn(Baseline):
    """The convolutional baseline: one convolution and pooling for each of `filters`."""

    filters: Annotated[Units, Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class Baselines:
    """The networks trained from scratch, to compare with."""

    views: Views
    ann: Ann
    cnn: Cnn


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """How an image is predicted: by the mean of the probabilities of so many of its views."""

    views: Views


@dataclass(frozen=True, config=STRICT)
class Export:
    """The formats that the winner is written in."""

    formats: Annotated[tuple[Format, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> "Export":
        if len(set(self.formats)) < len(self.formats):
            raise ValueError(f"each of formats once, received {', '.join(self.formats)}")
        return self


@dataclass(frozen=True, config=STRICT)
class Dask:
    """The cluster of `runner: dask`: that of a scheduler, or one with so many workers on this machine."""

    scheduler: Annotated[Str, Field(min_length=1)] | None
    workers: Annotated[Int, Field(ge=1)]


@dataclass(frozen=True, config=STRICT)
class Params:
    """All of params.yaml. Where that says auto, `image_size` and `weights` are those of the backbone.

    `runner` and `dask` say where preprocess, embed and evaluate compute, and change nothing that these write: so no
    stage declares them in dvc.yaml, and a change runs nothing again.
    """

    dataset: Annotated[Str, Field(min_length=1)]
    backbone: Str
    image_size: ImageSize
    resize: Square
    time_budget_s: Positive | None
    symmetry: Symmetry
    class_weights: ClassWeights
    lr: Rate
    max_images: Annotated[Int, Field(ge=8)] | None
    seed: Annotated[Int, Field(ge=0, lt=2**31)]
    weights: Weights
    pixels: Pixels | None
    engine: Literal["auto", "openvino", "tensorflow"]
    split: Split
    duplicates: Duplicates
    max_bad_fraction: Annotated[Float, Field(ge=0, le=1)]
    batch_size: Annotated[Int, Field(ge=1, le=4096)]
    labels: LabelKind
    precision: Precision
    head: Head
    finetune: Finetune
    baselines: Baselines
    evaluate: Evaluate
    resamples: Annotated[Int, Field(ge=100, le=1_000_000)]
    export: Export
    runner: Literal["local", "dask"]
    dask: Dask

    @model_validator(mode="before")
    @classmethod
    def _follow_backbone(cls, values: Any) -> Any:
        return follow_backbone(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _known_names(self) -> "Params":
        if SOURCE.fullmatch(self.backbone) and (
            not self.backbone.startswith(HUB) or self.backbone in read_hub_presets()
        ):
            return self  # whose cuts and sizes are not known before it is loaded
        if self.backbone not in FACTS:
            raise ValueError(_unknown_backbone(self.backbone))
        if self.pixels is not None:
            raise ValueError(
                f"pixels to be null for {self.backbone}, which scales them itself, received a mean and std"
            )
        facts = FACTS[self.backbone]
        if self.image_size < facts.smallest_size or self.image_size % facts.multiple:
            bound = f"at least {facts.smallest_size}" if facts.multiple == 1 else f"a multiple of {facts.multiple}"
            raise ValueError(f"image_size to be {bound} for {self.backbone}, received {self.image_size}")
        if self.finetune.method == "lora" and not facts.transformer:
            raise ValueError(
                f"finetune.method to be full for {self.backbone}, which has no transformer blocks, received 'lora'"
            )
        if self.finetune.cut not in ("auto", "input", *facts.cuts):
            cuts = ", ".join(("auto", "input", *facts.cuts))
            raise ValueError(f"finetune.cut to be a cut of {self.backbone} ({cuts}), received {self.finetune.cut!r}")
        return self


def _unknown_backbone(name: str) -> str:
    """Say which backbones there are: of those of Keras and KerasHub only one that is meant, as they are many."""
    folded = {known.lower(): known for known in (*FACTS, *read_hub_presets()) if known.startswith((KERAS, HUB))}
    close = difflib.get_close_matches(name.lower(), folded, n=1) if name.lower().startswith((KERAS, HUB)) else []
    meant = f"; did you mean {folded[close[0]]}?" if close else ""
    return (
        f"backbone to be one of {', '.join(CUTS)}, {KERAS}NAME or {HUB}PRESET (python -m transfer backbones lists "
        f"them), hf://OWNER/NAME, kaggle://OWNER/MODEL/keras/VARIATION or {FOLDERS}NAME, "
        f"received {name!r}{meant}"
    )


def read_params(path: Path) -> Params:
    """Read params.yaml.

    Raises:
        UserError: see `validate` and `load_yaml`.
    """
    return validate(Params, load_yaml(path), path)
