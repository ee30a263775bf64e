"""One entry for each backbone: how it is built, cut and filled with weights."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import keras
from keras import layers

from transfer.core.cuts import CUTS, resolve_cut
from transfer.core.params import Pooling, WeightsFile
from transfer.networks.backbones import applications, efficientnet_lite, vit
from transfer.networks.backbones.available import PACKAGED, own_file, require_known
from transfer.networks.backbones.random_weights import build_random
from transfer.networks.backbones.weights import (
    DownloadedWeights,
    HubWeights,
    Origin,
    PackagedWeights,
    WeightsSource,
    load_file,
)

STORAGE = "https://storage.googleapis.com/tensorflow/keras-applications"
EFFICIENTNETS = "https://storage.googleapis.com/keras-applications"
HUB_PAGE = "https://www.kaggle.com/models/keras/vit/keras/vit_base_patch16_224_imagenet"


POOLINGS: dict[Pooling, tuple[type[layers.Layer], ...]] = {
    "average": (layers.GlobalAveragePooling2D,),
    "max": (layers.GlobalMaxPooling2D,),
    "average_max": (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D),
}
"""What pools over all places, (n, height, width, channels) to (n, channels). Features of two stand side by side."""


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier.

    `build` takes the image size S, and gives a model from float32 pixels
    (n, S, S, 3) in 0–1, the input "pixels", to activations, with random weights; preprocessing is its first layers.
    `own_pool` is how a network that was trained with features (n, channels) of its own gets them. `cuts` names for each
    cut the layer that gives all that the network above needs; "<layer" stands for what that layer takes, and "" for the
    model's output. `weights` are the trained weights that can be had, by the name that params.yaml gives them.
    """

    build: Callable[[int], keras.Model]
    cuts: Mapping[str, str]
    weights: Mapping[str, WeightsSource]
    own_pool: Callable[[keras.KerasTensor], keras.KerasTensor] | None = None
    load_file: Callable[[keras.Model, Path], object] | None = None

    def pool(self, activations: keras.KerasTensor, pooling: Pooling) -> keras.KerasTensor:
        """Turn what a model of `build` gives into features (n, channels): by its own way, or as wanted."""
        if self.own_pool is not None:
            return self.own_pool(activations)
        features = [pool(name=f"pool_{i}")(activations) for i, pool in enumerate(POOLINGS[pooling], 1)]
        return layers.Concatenate(name="pool")(features) if len(features) > 1 else features[0]

    def activations(self, model: keras.Model, cut: str) -> keras.KerasTensor:
        """Return what a model of `build` gives at a cut; "input" is its pixels."""
        place = {**self.cuts, "input": "pixels"}[cut]
        if not place:
            return model.output
        # Keras has no public name for what a layer was called with first where that layer is itself a model.
        node = model.get_layer(place.removeprefix("<"))._inbound_nodes[0]
        return node.input_tensors[0] if place.startswith("<") else node.output_tensors[0]


def _lite(name: str) -> Backbone:
    return Backbone(
        build=partial(efficientnet_lite.build, name),
        cuts={cut: efficientnet_lite.last_layer_below(name, cut) for cut in CUTS[name]},
        weights={
            "packaged": PackagedWeights(
                **asdict(PACKAGED[name]), licence="Apache-2.0", load=efficientnet_lite.load_packaged
            ),
        },
    )


def _keras(
    build: Callable[[int], keras.Model], cuts: Mapping[str, str], file: str, hash_: str | None, licence: str
) -> Backbone:
    """A network of keras.applications, with the file that it downloads."""
    return Backbone(build, cuts, {"imagenet": DownloadedWeights(f"{STORAGE}/{file}", hash_, licence)})


def _efficientnet(number: str, cuts: Mapping[str, str], md5: str) -> Backbone:
    build = applications.efficientnet(getattr(keras.applications, f"EfficientNet{number.upper()}"))
    source = DownloadedWeights(f"{EFFICIENTNETS}/efficientnet{number}_notop.h5", md5, "Apache-2.0 (Google)")
    return Backbone(build, cuts, {"imagenet": source})


BACKBONES = {
    "efficientnet_lite0": _lite("efficientnet_lite0"),
    "efficientnet_lite1": _lite("efficientnet_lite1"),
    "efficientnet_lite2": _lite("efficientnet_lite2"),
    "vgg16": _keras(
        applications.builder(keras.applications.VGG16, applications.blue_first),
        applications.VGG16_CUTS,
        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
        "CC-BY-4.0 (VGG, University of Oxford)",
    ),
    "resnet50": _keras(
        applications.builder(keras.applications.ResNet50, applications.blue_first),
        applications.RESNET50_CUTS,
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
        "MIT (Kaiming He)",
    ),
    "resnet50v2": _keras(
        applications.builder(keras.applications.ResNet50V2, applications.around_0),
        applications.RESNET50V2_CUTS,
        "resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "fac2f116257151a9d068a22e544a4917",
        "BSD (Facebook)",
    ),
    "mobilenetv2": _keras(
        applications.builder(keras.applications.MobileNetV2, applications.around_0),
        applications.MOBILENETV2_CUTS,
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        None,  # Keras has none for it
        "Apache-2.0 (Google)",
    ),
    "mobilenetv3_large": _keras(
        applications.builder(keras.applications.MobileNetV3Large, applications.around_0, include_preprocessing=False),
        applications.MOBILENETV3_LARGE_CUTS,
        "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
        "Apache-2.0 (Google)",
    ),
    "efficientnetb0": _efficientnet("b0", applications.EFFICIENTNETB0_CUTS, "50bc09e76180e00e4465e1a485ddc09d"),
    "efficientnetb1": _efficientnet("b1", applications.EFFICIENTNETB1_CUTS, "74c4e6b3e1f6a1eea24c589628592432"),
    "efficientnetb2": _efficientnet("b2", applications.EFFICIENTNETB1_CUTS, "111f8e2ac8aa800a7a99e3239f7bfb39"),
    "efficientnetb3": _efficientnet("b3", applications.EFFICIENTNETB3_CUTS, "af6d107764bb5b1abb91932881670226"),
    "efficientnetv2b0": _keras(
        applications.builder(
            keras.applications.EfficientNetV2B0, applications.standardised, include_preprocessing=False
        ),
        applications.EFFICIENTNETV2B0_CUTS,
        "efficientnet_v2/efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff",
        "Apache-2.0 (Google)",
    ),
    "convnext_tiny": replace(
        _keras(
            applications.builder(
                keras.applications.ConvNeXtTiny, applications.standardised, include_preprocessing=False, pooling="avg"
            ),
            applications.CONVNEXT_TINY_CUTS,
            "convnext/convnext_tiny_notop.h5",
            "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
            "MIT (Meta)",
        ),
        own_pool=lambda features: features,  # the network pools, and then normalises
    ),
    "vit_base_patch16": Backbone(
        build=vit.build,
        cuts=vit.CUTS,
        weights={"imagenet": HubWeights(vit.PRESET, HUB_PAGE, "Apache-2.0 (Google)", vit.load_preset)},
        own_pool=vit.class_token,
        load_file=vit.load_hub_weights,
    ),
}
"""Sources of the licences: the older documentation of keras.applications (docs/templates/applications.md in
keras-team/keras) for VGG, ResNet and, of which it names the first version only, MobileNet; the LICENSE files of
google/automl for EfficientNet, of facebookresearch/ConvNeXt and of google-research/vision_transformer."""


def pretrained(name: str, weights: str | WeightsFile, image_size: int, seed: int) -> tuple[keras.Model, Origin]:
    """Build a backbone, fill it with weights, and return it and where they are from.

    The weights are trained ones, "packaged" or "imagenet"; "none", random ones of the seed (see `build_random`); or a
    file of the user. Those of a Vision Transformer depend on the image size, in pixels.

    Raises:
        UserError: the weights cannot be had, or are not those expected.
    """
    backbone = BACKBONES[name]
    if weights == "none":
        return build_random(backbone.build, image_size, seed), Origin(f"no file: random weights of seed {seed}", "none")
    if isinstance(weights, WeightsFile):
        return _from_file(backbone, weights, image_size)
    require_known(name, weights)
    model = backbone.build(image_size)
    return model, backbone.weights[weights].fill(model)


def _from_file(backbone: Backbone, weights: WeightsFile, image_size: int) -> tuple[keras.Model, Origin]:
    """Fill a backbone from the user's file, whose SHA-256 is checked before anything reads it."""
    path = own_file(weights)
    model = backbone.build(image_size)
    loaders = [load for load in (keras.Model.load_weights, backbone.load_file) if load is not None]
    load_file(model, path, *loaders)
    return model, Origin(f"{path} (SHA-256 as given)", "that of the file")


def frozen_output(model: keras.Model, name: str, cut: str, pooling: Pooling = "average") -> keras.KerasTensor:
    """Return what a backbone gives at a cut: its activations there, pooled at the cut "top".

    Raises:
        UserError: the backbone has no such cut.
    """
    cut = resolve_cut(name, cut)
    activations = BACKBONES[name].activations(model, cut)
    return BACKBONES[name].pool(activations, pooling) if cut == "top" else activations


def trained_backbone(name: str, image_size: int, weights: Path) -> keras.Model:
    """Build a backbone and fill it with weights that the stage weights wrote."""
    model = BACKBONES[name].build(image_size)
    model.load_weights(weights)
    return model
