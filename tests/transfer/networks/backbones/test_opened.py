"""Tests of transfer/networks/backbones/opened.py: layers that hide others, of the kinds that KerasHub has."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from transfer.networks.backbones.opened import opened
from transfer.networks.fused import layers_above

PIXELS = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)


class Convolution(layers.Layer):
    """A convolution and its batch normalisation, and for the next one an optional scale of its own."""

    def __init__(self, scaled: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.convolution = layers.Conv2D(4, 3, padding="same", name="convolution")
        self.normalisation = layers.BatchNormalization(name="normalisation")
        self.scaled = scaled

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.convolution.build(input_shape)
        self.normalisation.build((*input_shape[:-1], 4))
        if self.scaled:
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.normalisation(self.convolution(x), training=training)
        return x * self.scale if self.scaled else x


class Block(layers.Layer):
    """A block that adds positions, and gives None beside its activations, as DeiT's does."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = layers.Dense(4, name="dense")

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.dense.build(input_shape)

    def call(self, x: Any, positions: Any) -> tuple[Any, None]:
        return x + self.dense(x) * positions, None


class Encoder(layers.Layer):
    """Blocks one after the other."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.blocks = [Block(name=f"block_{i}") for i in range(2)]

    def build(self, input_shape: tuple[int, ...]) -> None:
        for block in self.blocks:
            block.build(input_shape)

    def call(self, x: Any, positions: Any) -> Any:
        for block in self.blocks:
            x, _ = block(x, positions)
        return x

    def compute_output_shape(self, input_shape: tuple[int, ...], *_: object) -> tuple[int, ...]:
        return input_shape


class Positions(layers.Layer):
    """Numbers that depend on the size of the images alone, as DINOv3's rotary embeddings do."""

    def call(self, pixels: Any) -> Any:
        return ops.reshape(ops.arange(8.0), (8, 1))

    def compute_output_shape(self, _: tuple[int, ...]) -> tuple[int, ...]:
        return (8, 1)


def test_hidden_layers_come_out_with_their_variables_and_results() -> None:
    pixels = keras.Input((8, 8, 3), name="pixels")
    closed = keras.Model(pixels, Convolution(name="b")(Convolution(name="a")(pixels)))
    model = opened(closed)
    kinds = [type(layer) for layer in model.layers[1:]]
    assert kinds == [layers.Conv2D, layers.BatchNormalization] * 2
    assert {id(v) for v in model.variables} == {id(v) for v in closed.variables}
    np.testing.assert_array_equal(model(PIXELS, training=False), closed(PIXELS, training=False))


def test_blocks_come_out_and_what_is_the_same_for_all_images_is_a_constant() -> None:
    pixels = keras.Input((8, 8, 3), name="pixels")
    x = layers.Conv2D(4, 1)(pixels)
    closed = keras.Model(pixels, Encoder(name="encoder")(x, Positions()(pixels)))
    model = opened(closed)
    blocks = [layer for layer in model.layers if isinstance(layer, Block)]
    assert [block.name for block in blocks] == ["encoder.block_0", "encoder.block_1"]
    assert not [layer for layer in model.layers if isinstance(layer, Positions)]
    expected = closed(PIXELS)
    np.testing.assert_array_equal(model(PIXELS), expected)
    (between,) = (
        node.outputs[0] for nodes in model._nodes_by_depth.values() for node in nodes if node.operation is blocks[0]
    )
    above = keras.Model(between, model.output)  # needs nothing of the pixels any more
    below = keras.Model(model.input, between)
    np.testing.assert_array_equal(above(below(PIXELS)), expected)


def test_a_layer_with_a_variable_of_its_own_stays_closed_and_does_not_count_images() -> None:
    pixels = keras.Input((8, 8, 3), name="pixels")
    closed = keras.Model(pixels, Convolution(scaled=True, name="a")(pixels))
    model = opened(closed)
    assert [type(layer) for layer in model.layers[1:]] == [Convolution]
    above = layers_above(model, model.input)
    before = [np.asarray(v) for v in model.variables]
    np.testing.assert_array_equal(above(PIXELS, training=True), closed(PIXELS, training=False))
    for variable, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)
