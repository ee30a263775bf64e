"""The Vision Transformer ViT-B/16 of KerasHub (Dosovitskiy et al. 2021, arXiv:2010.11929), in a form that can be cut.

KerasHub's encoder is one layer that hides its blocks. Here the same blocks follow one another in the open.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

PATCH = 16
BLOCKS = 12
TRAINED_SIZE = 224
PRESET = "vit_base_patch16_224_imagenet"

CUTS = {"stem": "stem", **{f"block{i}": f"transformer_block_{i}" for i in range(1, BLOCKS + 1)}, "top": ""}


def _hub_backbone(image_size: int) -> keras.Model:
    """KerasHub's own model, with the dimensions of "Base" (table 1 of the paper)."""
    import keras_hub  # inside: it takes a second or more

    return keras_hub.models.ViTBackbone(
        image_shape=(image_size, image_size, 3),
        patch_size=(PATCH, PATCH),
        num_layers=BLOCKS,
        num_heads=12,
        hidden_dim=768,
        mlp_dim=3072,
        name="vit_base_patch16",
    )


def _layers(hub: keras.Model) -> list[keras.Layer]:
    """The layers of KerasHub's model that have weights: embedding of the patches, blocks, last normalisation."""
    encoder = hub.get_layer("vit_encoder")
    return [hub.get_layer("vit_patching_and_embedding"), *encoder.encoder_layers, encoder.layer_norm]


def build(image_size: int) -> keras.Model:
    """Build ViT-B/16 without its classifier.

    Takes float32 pixels (n, image_size, image_size, 3) in 0–1, where image_size is a multiple of 16, and gives
    activations (n, 1 + (image_size / 16)², 768): the class token, then the patches by rows. The weights are random.
    """
    embedding, *blocks, normalisation = _layers(_hub_backbone(image_size))
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    x = layers.Rescaling(2.0, -1.0, name="preprocess")(pixels)  # mean and standard deviation 0.5, as it was trained
    x = layers.Identity(name="stem")(embedding(x))
    for block in blocks:
        x = block(x)
    return keras.Model(pixels, normalisation(x), name="vit_base_patch16")


class _ClassToken(layers.Layer):
    """The first token: (n, tokens, channels) to (n, channels)."""

    def call(self, tokens: keras.KerasTensor) -> keras.KerasTensor:
        return tokens[:, 0]


def class_token(tokens: keras.KerasTensor) -> keras.KerasTensor:
    """Pool as the paper and KerasHub's classifier do: (n, tokens, channels) to (n, channels)."""
    return _ClassToken(name="pool")(tokens)


def resize_positions(embeddings: NDArray[np.float32], positions: int, others: int = 1) -> NDArray[np.float32]:
    """Interpolate position embeddings (others + s², channels) to (positions, channels), positions = others + t².

    Those of the first `others`, such as the class token, stay; those of the patches lie on a square grid, between whose
    points they are interpolated linearly (section 3.2 of the paper; its code does so too, in vit_jax/checkpoint.py).
    """
    if len(embeddings) == positions:
        return embeddings
    old, new = (round((count - others) ** 0.5) for count in (len(embeddings), positions))
    places = np.linspace(0, old - 1, new)  # corners onto corners
    below = np.minimum(places.astype(int), old - 2) if old > 1 else np.zeros(new, int)
    above, share = np.minimum(below + 1, old - 1), (places - below)[:, None]
    grid = embeddings[others:].reshape(old, old, -1)
    grid = grid[below] * (1 - share)[..., None] + grid[above] * share[..., None]  # (new, old, channels)
    grid = grid[:, below] * (1 - share) + grid[:, above] * share  # (new, new, channels)
    return np.concatenate([embeddings[:others], grid.reshape(new * new, -1)]).astype(np.float32)


def _fill(model: keras.Model, hub: keras.Model) -> None:
    """Copy the weights of KerasHub's model, whatever its image size, into the model of `build`."""
    filled = [layer for layer in model.layers if layer.weights]
    for layer, source in zip(filled, _layers(hub), strict=True):
        values = source.get_weights()
        for i, variable in enumerate(layer.weights):
            if variable.path.endswith("position_embedding/embeddings"):
                values[i] = resize_positions(values[i], variable.shape[0])
        layer.set_weights(values)


def load_hub_weights(model: keras.Model, path: Path) -> None:
    """Fill the model of `build` from the file model.weights.h5 of KerasHub's preset.

    Raises:
        ValueError, OSError, KeyError: the file is damaged, or of another network.
    """
    hub = _hub_backbone(TRAINED_SIZE)
    hub.load_weights(path)
    _fill(model, hub)


def load_preset(model: keras.Model) -> None:
    """Have KerasHub fetch its preset (from Kaggle, or from where Kaggle's client keeps it) and fill the model with it.

    Raises:
        OSError, ValueError: it cannot be had.
    """
    import keras_hub

    _fill(model, keras_hub.models.ViTBackbone.from_preset(PRESET))
