"""Where a network can be cut, found in its graph.

A place to cut is a tensor that everything passes: where it is alive, no other is. A network has many; offered are the
ends of its blocks and stages, named from the pixels upwards: `stem`, `stage1.block1`, …, `stage1`, …, `top`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod
from typing import Any

import keras
from keras import layers

BELOW_AUTO = 0.7
"""Share of the kernels that stay frozen by default: the end of the stage that comes nearest is the cut."""
EXPANDED = 2
"""A place with more than so many times the channels of the narrowest of its resolution lies inside a block."""


@dataclass(frozen=True, eq=False)  # each is itself
class Place:
    """A place to cut, just below a kernel or below branches.

    `tensor` is (n, height, width, channels); its height and width are those of the image divided by `stride`. Between
    the blocks of a transformer it may be (n, tokens, channels), and `stride` is not known.
    `kernels` counts those below. `merges` tells how the branches right below end: "" if there are none, "add" for
    residual ones, "concatenate". `run` is the stride where the last layer with a kernel ends, before any pooling.
    """

    tensor: keras.KerasTensor
    stride: int
    kernels: int
    merges: str = ""
    run: int = 1

    @property
    def channels(self) -> int:
        return int(self.tensor.shape[-1])


def _kernels(operation: keras.Operation) -> int:
    return sum("kernel" in weight.name for weight in getattr(operation, "weights", ()))


def _stride(operation: keras.Operation) -> int:
    """How many times smaller a layer, or a model of layers one after the other, makes height and width."""
    if isinstance(operation, keras.Model):
        return prod(_stride(layer) for layer in operation.layers)
    strides = getattr(operation, "strides", 1)
    return int(strides if isinstance(strides, int) else strides[0])


def _parts(model: keras.Model) -> Iterator[tuple[keras.KerasTensor, list[Any]]]:
    """Yield each tensor that alone is alive, in order, and what computes it from the one before."""
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    last_read = {id(tensor): i for i, node in enumerate(nodes) for tensor in node.input_tensors}
    alive_until, part = 0, []
    for i, node in enumerate(nodes):
        outputs = [tensor for tensor in node.outputs if id(tensor) in last_read] or node.outputs[:1]
        part.append(node)
        if alive_until <= i and len(outputs) == 1:
            yield outputs[0], part
            part = []
        alive_until = max(alive_until, *(last_read.get(id(tensor), i) for tensor in outputs))


def _merges(part: list[Any]) -> str:
    """How branches end that are more than a gate, such as squeeze-and-excitation, on the way."""
    ends = [node.operation for node in part if len(node.input_tensors) > 1]
    ends = [operation for operation in ends if not isinstance(operation, layers.Multiply)]
    if not ends:
        return ""
    return "concatenate" if isinstance(ends[-1], layers.Concatenate) else "add"


def _places(model: keras.Model) -> list[Place]:
    """Return one place between two kernels, or branches, and the next: the smallest tensor there, the last of these."""
    strides = {id(model.input): 1}
    places = [Place(model.input, 1, 0)]
    for tensor, part in _parts(model):
        for node in part:
            if node.input_tensors:
                below = max(strides[id(entry)] for entry in node.input_tensors)
                strides |= {id(given): below * _stride(node.operation) for given in node.outputs}
        stride, last = strides[id(tensor)], places[-1]
        kernels, merges = last.kernels + sum(_kernels(node.operation) for node in part), _merges(part)
        if len(tensor.shape) != 4:
            break
        if merges or any(getattr(node.operation, "weights", ()) for node in part):
            places.append(Place(tensor, stride, kernels, merges, stride))
        elif not isinstance(part[-1].operation, layers.ZeroPadding2D) and (
            tensor.shape[-1] / stride**2 <= last.channels / last.stride**2
        ):
            places[-1] = replace(last, tensor=tensor, stride=stride)
    return [place for place in places if place.kernels]


def _ends(places: list[Place]) -> list[Place]:
    """Choose the ends of blocks.

    That is where branches come together; where an expanded block is narrow again, before the next one; and where
    neither is found at a resolution, the last place there.
    """
    ends, widest = [], 0
    for place, above in zip(places, [*places[1:], None], strict=True):
        rises = above is None or above.merges or above.channels > place.channels
        if place.merges or (rises and widest > place.channels):
            ends.append(place)
            widest = 0
        widest = max(widest, place.channels)
    for run, alike in groupby(places, lambda place: place.run):
        at_run = list(alike)
        if not any(end.run == run for end in ends):
            narrowest = min(place.channels for place in at_run)
            ends.append([place for place in at_run if place.channels <= EXPANDED * narrowest][-1])
    return sorted(ends, key=places.index)


def _begins_stage(before: Place, end: Place) -> bool:
    """Tell whether a block is of another stage than the one before: residual stages differ in width, others in size."""
    wider = before.channels != end.channels and end.merges != "concatenate"
    smaller = before.stride != end.stride and end.merges != "add"
    return wider or smaller


def _named(number: int, stage: list[Place]) -> dict[str, Place]:
    """Name the ends of the blocks of a stage."""
    inside = {f"stage{number}.block{i}": end for i, end in enumerate(stage[:-1], 1)}
    return inside | {f"stage{number}": stage[-1]}


def find_places(model: keras.Model) -> dict[str, Place]:
    """Find where a network of convolutions can be cut, by name, from the pixels upwards. The last is its output, "top".

    "stem" is the first convolution, if it makes the image smaller; "stage3" is the end of the third stage, and
    "stage3.block2" that of the second block in it.
    """
    places = _places(model)
    first = places[0]
    stem = [place for place in places if place.kernels == first.kernels and place.run == first.run > 1][-1:]
    stages: list[list[Place]] = []
    for end in _ends(places):
        if stem and end.kernels == first.kernels:
            continue
        if not stages or _begins_stage(stages[-1][-1], end):
            stages.append([])
        stages[-1].append(end)
    found = dict(zip(("stem",), stem, strict=False))
    for i, stage in enumerate(stages, 1):
        found |= _named(i, stage)
    top = replace(places[-1], tensor=model.output)
    return {name: place for name, place in found.items() if place.tensor is not model.output} | {"top": top}


def _is_block(node: Any) -> bool:
    """Tell whether a layer is a block of a transformer: it normalises, and gives the shape that it takes."""
    if type(node.operation).__module__.startswith("keras.src.layers") or not isinstance(node.operation, layers.Layer):
        return False
    inside = node.operation._flatten_layers(include_self=False)
    same = len(node.outputs[0].shape) >= 3 and node.input_tensors[0].shape == node.outputs[0].shape
    return same and any(isinstance(layer, layers.LayerNormalization) for layer in inside)


def blocks(model: keras.Model) -> list[layers.Layer]:
    """Return the blocks of a transformer that are layers of a network, from the input upwards."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node.operation for depth in depths for node in model._nodes_by_depth[depth] if _is_block(node)]


def find_blocks(model: keras.Model) -> dict[str, Place]:
    """Find where a transformer can be cut, by name, as `find_places` does. Empty where fewer than two blocks are found.

    "stem" is what stands before the first block, and "block3" the end of the third one. Where blocks of another shape
    follow, as in a Swin Transformer, the names are those of `find_places`.
    """
    kernels, below = 0, Place(model.input, 0, 0)
    stages: list[list[Place]] = []
    found: dict[str, Place] = {}
    for tensor, part in _parts(model):
        if _is_block(part[-1]):
            if not stages:
                found["stem"] = below
            if not stages or stages[-1][-1].tensor.shape != tensor.shape:
                stages.append([])
        kernels += sum(_kernels(node.operation) for node in part)
        below = Place(tensor, 0, kernels)
        if _is_block(part[-1]):
            stages[-1].append(below)
    if len(stages) == 1:
        found |= {f"block{i}": end for i, end in enumerate(stages[0], 1)}
    for i, stage in enumerate(stages if len(stages) > 1 else (), 1):
        found |= _named(i, stage)
    top = Place(model.output, 0, kernels)
    found = {name: place for name, place in found.items() if place.tensor is not model.output} | {"top": top}
    return found if sum(len(stage) for stage in stages) > 1 else {}


def default_cut(places: dict[str, Place]) -> str:
    """Return the end of a stage below which about `BELOW_AUTO` of the kernels lie; the stem where there is none."""
    wanted = BELOW_AUTO * places["top"].kernels
    ends = [name for name in places if name not in ("stem", "top") and "." not in name] or list(places)[:-1]
    return min(ends, key=lambda name: abs(places[name].kernels - wanted))
