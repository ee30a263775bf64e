"""One entry for each backbone: how it is built, cut and filled with weights."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import keras
from keras import layers

from transfer.core.cuts import (
    CUTS,
    FACTS,
    FOLDERS,
    HUB,
    KERAS,
    LITE_REPEATS,
    SHORT_NAMES,
    Hub,
    Named,
    is_source,
    resolve_cut,
)
from transfer.core.params import AnyWeights, Pixels, Pooling, WeightsFile
from transfer.networks.backbones import applications, efficientnet_lite, hub, vit
from transfer.networks.backbones.available import PACKAGED, require_weights
from transfer.networks.backbones.graph import Place, find_places
from transfer.networks.backbones.random_weights import build_random
from transfer.networks.backbones.weights import (
    DownloadedWeights,
    HubWeights,
    Origin,
    PackagedWeights,
    WeightsSource,
    load_file,
)

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
    `weights` are the trained weights that can be had, by the name that params.yaml gives them. `cuts` names for each
    cut the layer that gives all that the network above needs, and "" for the model's output; without it, `places`
    finds them in the graph. `own_pool` is how a network that was trained with features (n, channels) of its own gets
    them.
    """

    build: Callable[[int], keras.Model]
    weights: Mapping[str, WeightsSource]
    cuts: Mapping[str, str] | None = None
    own_pool: Callable[[keras.KerasTensor], keras.KerasTensor] | None = None
    load_file: Callable[[keras.Model, Path], object] | None = None
    places: Callable[[keras.Model], Mapping[str, Place]] = find_places

    def pool(self, activations: keras.KerasTensor, pooling: Pooling) -> keras.KerasTensor:
        """Turn what a model of `build` gives into features (n, channels): by its own way, or as wanted."""
        if self.own_pool is not None:
            return self.own_pool(activations)
        features = [pool(name=f"pool_{i}")(activations) for i, pool in enumerate(POOLINGS[pooling], 1)]
        return layers.Concatenate(name="pool")(features) if len(features) > 1 else features[0]

    def activations(self, model: keras.Model, cut: str) -> keras.KerasTensor:
        """Return what a model of `build` gives at a cut; "input" is its pixels."""
        if cut == "input":
            return model.input
        if self.cuts is None:
            places = self.places(model)
            return places[cut if cut in places else re.sub("^block", "stage", cut)].tensor
        return model.get_layer(self.cuts[cut]).output if self.cuts[cut] else model.output


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


LICENCES = {
    "convnext": "MIT (Meta)",
    "densenet": "BSD-3-Clause (Zhuang Liu)",
    "efficientnet": "Apache-2.0 (Google)",
    "efficientnet_v2": "Apache-2.0 (Google)",
    "inception_resnet_v2": "Apache-2.0 (Google)",
    "inception_v3": "Apache-2.0 (Google)",
    "mobilenet": "Apache-2.0 (Google)",
    "mobilenet_v2": "Apache-2.0 (Google)",
    "mobilenet_v3": "Apache-2.0 (Google)",
    "nasnet": "Apache-2.0 (Google)",
    "resnet": "MIT (Kaiming He)",
    "resnet_v2": "BSD (Facebook)",
    "vgg16": "CC-BY-4.0 (VGG, University of Oxford)",
    "vgg19": "CC-BY-4.0 (VGG, University of Oxford)",
    "xception": "MIT (Keras)",
}
"""Of the weights, by the module of keras.applications. Sources: the older documentation of keras.applications
(docs/templates/applications.md in keras-team/keras), which of MobileNet names the first versions only; the LICENSE
files of google/automl for EfficientNet, of facebookresearch/ConvNeXt and, for the Vision Transformer, of
google-research/vision_transformer."""


def _keras(name: str, network: str) -> Backbone:
    """A network of keras.applications, with the file that it downloads."""
    function, facts = getattr(keras.applications, network), FACTS[name]
    family = applications.family(function)
    return Backbone(
        build=applications.WITHOUT_PREPROCESSING.get(name) or applications.build_of(function),
        weights={"imagenet": DownloadedWeights(facts.url, facts.hash or None, LICENCES[family])},
        own_pool=(lambda features: features) if family == "convnext" else None,
    )


BACKBONES = {
    **{name: _lite(name) for name in LITE_REPEATS},
    **{name: _keras(name, network) for name, network in SHORT_NAMES.items()},
    "vit_base_patch16": Backbone(
        build=vit.build,
        weights={"imagenet": HubWeights(vit.PRESET, HUB_PAGE, "Apache-2.0 (Google)", vit.load_preset)},
        cuts=vit.CUTS,
        own_pool=vit.class_token,
        load_file=vit.load_hub_weights,
    ),
    **{name: _keras(name, name.removeprefix(KERAS)) for name in FACTS if name.startswith(KERAS)},
}


def backbone_of(backbone: Named) -> Backbone:
    """Return the entry of a backbone: its own in the table, or one made of its description."""
    if not isinstance(backbone, Hub):
        return BACKBONES[backbone]
    return Backbone(
        build=partial(hub.build, backbone),
        weights={},
        cuts=None if backbone.opened else {"top": ""},
        own_pool=None if backbone.pool == "places" else partial(hub.pooled, backbone),
        places=hub.places,
    )


def fetch(
    name: str, weights: AnyWeights, image_size: int, seed: int, folders: Path, pixels: Pixels | None = None
) -> tuple[Named, keras.Model, Origin]:
    """Return a backbone as later stages know it, with what `pretrained` gives; KerasHub loads it if it has no entry.

    `folders` is where backbones lie that are folders. `pixels`, if given, says how KerasHub's have theirs scaled.

    Raises:
        UserError: the backbone or its weights cannot be had, or are not those expected.
    """
    require_weights(name, weights, folders)
    if not is_source(name):
        return name, *pretrained(name, weights, image_size, seed)
    source = str(folders / name.removeprefix(FOLDERS)) if name.startswith(FOLDERS) else name.removeprefix(HUB)
    return hub.fetch(name, source, weights, image_size, seed, pixels)


def pretrained(name: str, weights: AnyWeights, image_size: int, seed: int) -> tuple[keras.Model, Origin]:
    """Build a backbone, fill it with weights that `require_weights` has checked, and return it and where they are from.

    The weights are trained ones, "packaged" or "imagenet"; "none", random ones of the seed (see `build_random`); or a
    file of the user. Those of a Vision Transformer depend on the image size, in pixels.

    Raises:
        UserError: the weights cannot be had, or are not those expected.
    """
    backbone = BACKBONES[name]
    if weights == "none":
        return build_random(backbone.build, image_size, seed), Origin(f"no file: random weights of seed {seed}", "none")
    model = backbone.build(image_size)
    if isinstance(weights, WeightsFile):
        loaders = [load for load in (keras.Model.load_weights, backbone.load_file) if load is not None]
        load_file(model, Path(weights.file), *loaders)
        return model, Origin(f"{weights.file} (SHA-256 as given)", "that of the file")
    return model, backbone.weights[str(weights)].fill(model)


def frozen_output(model: keras.Model, backbone: Named, cut: str, pooling: Pooling = "average") -> keras.KerasTensor:
    """Return what a backbone gives at a cut: its activations there, pooled at the cut "top".

    Raises:
        UserError: the backbone has no such cut.
    """
    entry, cut = backbone_of(backbone), resolve_cut(backbone, cut)
    activations = entry.activations(model, cut)
    return entry.pool(activations, pooling) if cut == "top" else activations


def trained_backbone(backbone: Named, image_size: int, weights: Path) -> keras.Model:
    """Build a backbone and fill it with weights that the stage weights wrote."""
    model = backbone_of(backbone).build(image_size)
    model.load_weights(weights)
    return model
