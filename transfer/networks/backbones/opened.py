"""Networks whose layers hide others, with these in the open, so that they can be cut and seen.

KerasHub puts the blocks of a Vision Transformer into one layer, and convolutions with their batch normalisation into
another. What such a layer does is found out by having its `call` run on symbolic tensors: each layer in it then becomes
one of the network's own, with its variables and its results unchanged.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree


def normalises(layer: layers.Layer) -> bool:
    """Tell whether a layer has a batch normalisation in it."""
    return any(isinstance(inner, layers.BatchNormalization) for inner in layer._flatten_layers(include_self=False))


def _has_variables_of_its_own(layer: layers.Layer) -> bool:
    """Tell whether a layer has variables that are of no layer in it: opened, these would be nobody's."""
    inside = {id(variable) for inner in layer._layers for variable in inner.variables}
    return any(id(variable) not in inside for variable in layer.variables)


def _hides(layer: keras.Operation) -> bool:
    """Tell whether a layer hides blocks, several of a kind, or batch normalisation."""
    if not isinstance(layer, layers.Layer) or type(layer).__module__.startswith("keras.src.layers"):
        return False
    kinds = [type(inner) for inner in layer._layers if inner._layers]
    hidden = isinstance(layer, keras.Model) or normalises(layer) or any(kinds.count(kind) > 1 for kind in kinds)
    return hidden and not _has_variables_of_its_own(layer)


def _give_tensors_only(block: layers.Layer) -> None:
    """Have a block give 0 where it gives None beside its activations, which no symbolic call may (DeiT)."""
    call = block.call

    def with_zeros(*inputs: Any, **options: Any) -> Any:
        given = call(*inputs, **options)
        return tuple(ops.zeros(()) if part is None else part for part in given) if isinstance(given, tuple) else given

    block.call = with_zeros


class _Shaped(layers.Layer):
    """Activations as they come, of a shape (n, …) that the layer below gives wrongly: SigLIP counts one too many."""

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        super().__init__(name=name)
        self.given = shape

    def call(self, x: Any) -> Any:
        return x

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], *self.given)


class _Opening:
    """Calls each layer of a network once more on new tensors, as `keras.models.clone_model` asks for it, and opens it.

    `closed` are the layers that cannot be opened.
    """

    def __init__(self) -> None:
        self.closed: set[int] = set()

    def hides(self, layer: keras.Operation) -> bool:
        return id(layer) not in self.closed and _hides(layer)

    def __call__(self, layer: keras.Operation, *inputs: Any, **options: Any) -> Any:
        if self.hides(layer):
            try:
                return self._opened(layer, *inputs, **options)
            except (TypeError, ValueError, AttributeError, NotImplementedError):  # of a shape known only with an image
                self.closed.add(id(layer))
        result = layer(*inputs, **options)
        if all(None not in tensor.shape for tensor in tree.flatten(result)):  # of no image: the same for all of them
            return layer(*tree.map_structure(_zeros, inputs), **options)
        if isinstance(result, keras.KerasTensor) and len(result.shape) == 3 and len(inputs[0].shape) == 4:
            shape = tuple(layer(_zeros(inputs[0]), **options).shape[1:])
            return result if shape == tuple(result.shape[1:]) else _Shaped(shape, name=f"{layer.name}_shaped")(result)
        return result

    def _opened(self, layer: layers.Layer, *inputs: Any, **options: Any) -> Any:
        for inner in layer._layers:
            if not inner.name.startswith(f"{layer.name}."):
                inner.name = f"{layer.name}.{inner.name}"  # a network has each name once
            _give_tensors_only(inner)
        return layer.call(*inputs, **options)


def _zeros(tensor: Any) -> Any:
    return np.zeros((1, *tensor.shape[1:]), tensor.dtype) if isinstance(tensor, keras.KerasTensor) else tensor


def opened(network: keras.Model) -> keras.Model:
    """Return a network of one input and one output with its layers in the open.

    It shares its variables, and gives what it gave.
    """
    call = _Opening()
    hidden = True
    while hidden:  # the last time nothing is: then all layers have been called one by one
        hidden = any(call.hides(layer) for layer in network.operations)
        entry = keras.Input(network.input.shape[1:], name=network.input.name)
        copy = keras.models.clone_model(network, entry, clone_function=lambda layer: layer, call_function=call)
        network = keras.Model(copy.input, copy.output, name=network.name)
    return network
