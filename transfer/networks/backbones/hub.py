"""Backbones that KerasHub loads: its presets, repositories of Hugging Face and Kaggle, and folders.

All are the same here: a source that KerasHub turns into a network with weights, and into what the network takes pixels
as. The stage weights loads it, once, and describes it (`core.cuts.Hub`), so that later stages build it without.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any, Literal

import keras
import numpy as np
from keras import layers, tree
from numpy.typing import NDArray

from transfer.core.cuts import FOLDERS, Hub
from transfer.core.errors import UserError, one_line
from transfer.core.params import AnyWeights, Pixels, WeightsPin
from transfer.networks.backbones.graph import Place, default_cut, find_blocks, find_places
from transfer.networks.backbones.opened import opened
from transfer.networks.backbones.random_weights import build_random, noise_images
from transfer.networks.backbones.vit import class_token, resize_positions
from transfer.networks.backbones.weights import Origin, downloading

TOWERS = ("vision_encoder", "image_encoder")
"""What a network for more than images, or for segmentation or detection, calls the part that sees the image."""
CLASS_TOKENS = ("class_token", "cls_token", "class_embedding")
"""Names of the variable that begins the token that a classifier reads."""
PREPROCESSOR = (("image_mean", np.zeros(3)), ("image_std", np.ones(3)))
"""Keys of Transformers' preprocessor_config.json, and what they are where it does not normalise."""
Scaling = tuple[NDArray[np.float64], NDArray[np.float64]]
"""For each channel, what pixels are multiplied by, and what is then added."""
CLOSE = 1e-4  # of the largest activation


def fetch(
    name: str, source: str, weights: AnyWeights, image_size: int, seed: int, pixels: Pixels | None = None
) -> tuple[Hub, keras.Model, Origin]:
    """Load a backbone, or its config alone, and return its description, the network for an image size, and its origin.

    `source` is what KerasHub calls it. Weights of "none" are random ones of the seed. `pixels` come before what the
    source says of them.

    Raises:
        UserError: it cannot be loaded, its weights are not the pinned ones, its pixels' scale is not known, or it takes
            no images of this size.
    """
    trained = weights != "none"
    with _loading(name):
        loaded = _load(source, trained)
        scaling = _own_scaling(source) if pixels is None else _scaling(np.array(pixels.mean), np.array(pixels.std))
    if scaling is None:
        raise UserError(
            f"{name}: no file says how pixels are scaled; set pixels: {{mean: [R, G, B], std: [R, G, B]}} in "
            "params.yaml, of pixels in 0–1"
        )
    sha256 = _sha256(loaded) if trained else ""
    if isinstance(weights, WeightsPin) and sha256 != weights.sha256:
        raise UserError(
            f"params.yaml: weights.sha256: {name} now has weights with the SHA-256 {sha256}, not {weights.sha256}; "
            f"bring back the old ones as {FOLDERS}NAME, or, if you trust the new ones, set weights to "
            f"{{sha256: {sha256}}}"
        )
    hub, model = _describe(name, _of_size(loaded, image_size, name), image_size, scaling, sha256)
    if trained:
        return hub, model, Origin(f"{name} (SHA-256 of the weights {sha256})", "see there")
    origin = Origin(f"{name}, its config alone: random weights of seed {seed}", "none")
    return hub, build_random(lambda size: build(hub, size), image_size, seed), origin


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Turn what loading raises into an error that says what to do."""
    if not name.startswith(FOLDERS):
        with downloading(name, f"its files into {FOLDERS}NAME, and set `backbone: {FOLDERS}NAME`"):
            yield
        return
    try:
        yield
    except Exception as error:  # KerasHub, Keras, h5py and safetensors raise many kinds
        raise UserError(
            f"{name}: KerasHub cannot load it: {one_line(error, 300)}; use a folder that KerasHub, Transformers or "
            "timm saved, of an architecture that KerasHub has"
        ) from error


def _load(source: str, trained: bool) -> keras.Model:
    """Load the part of a network that sees the image."""
    import keras_hub  # inside: it takes a second or more

    network = keras_hub.models.Backbone.from_preset(source, load_weights=trained)
    for tower in TOWERS:
        network = getattr(network, tower, network)
    return network


def _scaling(mean: NDArray[np.float64], std: NDArray[np.float64]) -> Scaling:
    return 1 / std, -mean / std


def _own_scaling(source: str) -> Scaling | None:
    """Return how a source has pixels in 0–1 scaled; None where no file of it says so. Its files mean those in 0–255."""
    import keras_hub

    try:
        converter = keras_hub.layers.ImageConverter.from_preset(source)
        pixels = (converter.scale or 1.0, converter.offset or 0.0) if converter is not None else _preprocessor(source)
    except (FileNotFoundError, KeyError):
        return None
    scale, offset = (np.broadcast_to(np.asarray(value, np.float64), 3) for value in pixels)
    return 255.0 * scale, offset


def _preprocessor(source: str) -> Scaling:
    """Return how Transformers' file has pixels in 0–255 scaled, where KerasHub makes no converter of it."""
    from keras_hub.src.utils.preset_utils import load_json

    config = load_json(source, "preprocessor_config.json")
    rescale = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    normalised = config.get("do_normalize", True)
    mean, std = (np.array(config[key]) if normalised else other for key, other in PREPROCESSOR)
    return _scaling(mean / rescale, std / rescale)


def _serialised(network: keras.Model, image_size: int) -> dict[str, Any]:
    """Return KerasHub's class and config for an image size, in JSON's types; the precision is left to the training."""
    content: dict[str, Any] = keras.saving.serialize_keras_object(network)
    content["config"]["dtype"] = None
    kept = {key: content[key] for key in ("module", "class_name", "config", "registered_name")}
    return _with_size(kept, image_size)


def _with_size(content: dict[str, Any], image_size: int) -> dict[str, Any]:
    sizes = {key: [image_size, image_size, 3] for key in ("image_shape", "input_shape") if key in content["config"]}
    return content | {"config": content["config"] | sizes}


def _deserialised(content: dict[str, Any]) -> keras.Model:
    import keras_hub

    network = keras.saving.deserialize_keras_object(content)
    if not isinstance(network, keras_hub.models.Backbone):
        raise UserError(f"{content['class_name']}: not a backbone of KerasHub; run dvc repro -f weights")
    return network


def _of_size(loaded: keras.Model, image_size: int, name: str) -> keras.Model:
    """Return a network with the same weights that takes images of a size; position embeddings are interpolated.

    Raises:
        UserError: it takes no images of that size.
    """
    own = tree.flatten(loaded.input)[0].shape[1]
    if own == image_size:
        return loaded
    try:
        network = _deserialised(_serialised(loaded, image_size))
        for source, target in zip(loaded.weights, network.weights, strict=True):
            if source.shape == target.shape:
                target.assign(source)
            elif "int" not in target.dtype:  # numbers of positions are as they have to be
                target.assign(_resized(np.asarray(source), source.path, target.shape, _side(network, image_size)))
    except (ValueError, TypeError, ArithmeticError) as error:
        raise UserError(
            f"params.yaml: image_size: {name} takes no images of {image_size} px: {one_line(error, 200)}; set "
            f"image_size to {own or 'another size'}"
        ) from error
    return network


def _side(network: keras.Model, image_size: int) -> int:
    """Return how many patches stand side by side."""
    patch = getattr(network, "patch_size", None)
    if patch is None:
        raise ValueError("its weights depend on the size of the images")
    return image_size // int(tree.flatten(patch)[0])


def _resized(values: NDArray[np.float32], path: str, shape: tuple[int, ...], side: int) -> NDArray[np.float32]:
    """Interpolate position embeddings ([1,] tokens, channels): of tokens without a place, and then of the patches."""
    old, new = values.shape[-2], shape[-2]
    others = new - side**2
    if "position" not in path or others < 0 or isqrt(old - others) ** 2 != old - others:
        raise ValueError(f"{path} has the shape {values.shape}, not {tuple(shape)}")
    return resize_positions(values.reshape(old, -1), new, others).reshape(shape)


def _output(tower: keras.Model) -> keras.KerasTensor:
    """Return what a network gives; of one that gives several, a pyramid, the last."""
    return tree.flatten(tower.output)[-1] if not isinstance(tower.output, dict) else list(tower.output.values())[-1]


def _closed(hub: Hub, tower: keras.Model, image_size: int) -> keras.Model:
    """Return a network from float32 pixels (n, S, S, 3) in 0–1 to activations; preprocessing is its first layer."""
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    scaled = layers.Rescaling(list(hub.scale), list(hub.offset), name="preprocess")(pixels)
    network = keras.Model(tower.input, _output(tower), name="backbone")
    return keras.Model(pixels, network(tree.map_structure(lambda _: scaled, tower.input)), name="backbone")


def build(hub: Hub, image_size: int) -> keras.Model:
    """Build a described backbone, with random weights: see `registry.Backbone`."""
    closed = _closed(hub, _deserialised(_with_size(hub.network, image_size)), image_size)
    return opened(closed) if hub.opened else closed


def places(model: keras.Model) -> dict[str, Place]:
    """Find where an opened backbone can be cut: between a transformer's blocks, or in a network of convolutions."""
    return find_blocks(model) or find_places(model)


def pooled(hub: Hub, activations: keras.KerasTensor) -> keras.KerasTensor:
    """Turn the output of a backbone that has no places into features (n, channels)."""
    if hub.pool == "none":
        return activations
    if hub.pool == "class_token":
        return class_token(activations)
    return layers.GlobalAveragePooling1D(name="pool")(activations)


def _pool(tower: keras.Model) -> Literal["places", "class_token", "tokens", "none"]:
    rank = len(_output(tower).shape)
    if rank == 3:
        return "class_token" if any(weight.name in CLASS_TOKENS for weight in tower.weights) else "tokens"
    return "places" if rank == 4 else "none"


def _sha256(network: keras.Model) -> str:
    digest = hashlib.sha256()
    for weight in network.weights:
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _describe(name: str, tower: keras.Model, image_size: int, scaling: Scaling, sha256: str) -> tuple[Hub, keras.Model]:
    """Describe a loaded network, and return it as `build` does, with its weights.

    It is taken apart where that leaves its output as it is, and so can be cut.
    """
    scale, offset = (tuple(map(float, values)) for values in scaling)
    network = _serialised(tower, image_size)
    hub = Hub(
        name, sha256, network, image_size, scale, offset, False, _pool(tower), ("top",), "input",
        tower.count_params(),
    )  # fmt: skip
    whole = _closed(hub, tower, image_size)
    try:
        parts = opened(whole)
        found = places(parts)
    except (ValueError, TypeError, AttributeError, IndexError, KeyError):
        return hub, whole
    images = noise_images(image_size, 2, 0)
    expected, given = (np.asarray(model(images, training=False)) for model in (whole, parts))
    if not np.allclose(given, expected, rtol=0, atol=CLOSE * np.abs(expected).max()):
        return hub, whole
    cuts = {"opened": True, "cuts": tuple(found), "default": default_cut(found) if len(found) > 1 else "input"}
    return Hub(**{**vars(hub), **cuts}), parts
