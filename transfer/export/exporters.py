"""Write a calibrated network in one format or another, with all that has to be known inside the file.

The same network gives the same bytes in every process.
"""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import openvino
import tensorflow as tf
import tf2onnx
from ai_edge_litert.schema_py_generated import BufferT, BuiltinOperator, MetadataT, ModelT, TensorType
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

from transfer.export.calibrated import Calibrated, with_constants
from transfer.export.contract import INPUT, OUTPUT, Contract, preprocessing
from transfer.export.formats import CONTRACT_ASSET, METADATA_NAME
from transfer.inference.engines import convert

OPSET = 18
"""Of ONNX: the first in which Resize filters over the area that a pixel comes from."""
NETWORK = "_of_the_network"  # after the name of its input, where what stands before it has an input too


def write_saved_model(network: Calibrated, folder: Path) -> None:
    """Write TensorFlow's SavedModel. The contract is an asset.

    Its fingerprint, for logs, holds a random number; nothing reads it but logs, and it is left out.
    """
    module = tf.Module()
    module.network = network
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / CONTRACT_ASSET
        file.write_text(json.dumps(network.contract.properties(), indent=2) + "\n", encoding="utf-8")
        module.contract = tf.saved_model.Asset(str(file))
        tf.saved_model.save(module, str(folder), signatures={"serving_default": network.of_any_size()})
    (folder / "fingerprint.pb").unlink()


def write_onnx(network: Calibrated, path: Path) -> None:
    """Write ONNX, the contract as metadata_props.

    To tf2onnx the weights are inputs: it copies constants so often that a network with 0.34 GB of them took 12.5 GB.
    """
    function = with_constants(network.of_weights())  # of what layers hold, or tf2onnx takes it for inputs too
    names = ([tensor.name for tensor in tensors] for tensors in (function.inputs, function.outputs))
    graph = function.graph.as_graph_def()
    missing: dict[str, Any] = {"Erfc": (_erfc, [])}
    model, _ = tf2onnx.convert.from_graph_def(graph, None, *names, opset=OPSET, custom_op_handlers=missing)
    _fill(model.graph, [keras.ops.convert_to_numpy(weight) for weight in network.logits.weights])
    model = _folded(model)
    _resize_before(model.graph, network.contract)
    _rename(model.graph, len(network.contract.classes))
    helper.set_model_props(model, network.contract.properties())
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _fill(graph: onnx.GraphProto, weights: Iterable[NDArray[Any]]) -> None:
    """Turn all inputs but the first, the images, into constants."""
    pixels, *others = graph.input
    for entry, values in zip(others, weights, strict=True):
        graph.initializer.append(numpy_helper.from_array(values, entry.name))
    _replace(graph.input, [pixels])


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Have ONNX Runtime compute what depends on weights alone and fuse layers, with standard operators only."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(file)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(file)
    _replace(folded.opset_import, [opset for opset in folded.opset_import if not opset.domain])
    return folded


def _erfc(graph: Any, node: Any, name: str, _: object) -> None:
    """Write TensorFlow's Erfc, which an exact GELU has and ONNX has not, as 1 - Erf."""
    (source,), outputs = node.input, node.output
    kind, shape = graph.get_dtype(outputs[0]), graph.get_shape(outputs[0])
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", [source], dtypes=[kind], shapes=[shape])
    one = graph.make_const(f"{name}_one", np.array(1, np.float32))
    subtracted = [one.output[0], erf.output[0]]
    graph.make_node("Sub", subtracted, name=name, outputs=outputs, dtypes=[kind], shapes=[shape])


def _resize_before(graph: onnx.GraphProto, contract: Contract) -> None:
    """Put a resize before all else, so that images (n, height, width, channels) may have any size.

    With `antialias` it filters as Pillow does, and with `exclude_outside` at the edges too.
    """
    (entry,) = graph.input
    options = {"mode": "linear", "antialias": 1, "exclude_outside": 1, "coordinate_transformation_mode": "half_pixel"}
    nodes = [
        helper.make_node("Transpose", [INPUT], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Shape", ["planes"], ["images_and_channels"], start=0, end=2),
        helper.make_node("Concat", ["images_and_channels", "size"], ["sizes"], axis=0),
        helper.make_node("Resize", ["planes", "", "", "sizes"], ["resized"], **options),
        helper.make_node("Transpose", ["resized"], [entry.name + NETWORK], perm=[0, 2, 3, 1]),
    ]
    for node in graph.node:
        node.input[:] = [name + NETWORK if name == entry.name else name for name in node.input]
    _replace(graph.node, [*nodes, *graph.node])
    size = helper.make_tensor("size", TensorProto.INT64, [2], [contract.image_size] * 2)
    _replace(graph.initializer, [*graph.initializer, size])
    shape = ["images", "height", "width", contract.channels]
    entry.CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape))


def _rename(graph: onnx.GraphProto, classes: int) -> None:
    """Name tensors by their place and put constants in the order of their use: tf2onnx's names come out of sets."""
    (result,) = graph.output
    constants = {constant.name: constant for constant in graph.initializer}
    used = [name for node in graph.node for name in node.input if name in constants]
    names = {"": "", INPUT: INPUT, result.name: OUTPUT}
    names |= {name: f"constant_{number}" for number, name in enumerate(dict.fromkeys(used))}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for place, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_{place}")
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    _replace(graph.initializer, [constants[name] for name in dict.fromkeys(used)])
    for constant in graph.initializer:
        constant.name = names[constant.name]
    del graph.value_info[:]  # the shapes of what lies between, which whoever reads the file works out
    result.CopyFrom(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["images", classes]))


def _replace(field: Any, messages: Iterable[Any]) -> None:
    """Set a repeated field of a protocol buffer to messages that may be in it now."""
    copies = [type(message).FromString(message.SerializeToString()) for message in messages]
    del field[:]
    field.extend(copies)


def write_openvino(network: Calibrated, path: Path) -> None:
    """Write OpenVINO's IR, an .xml and a .bin, the contract as rt_info. Its own resize computes as Pillow does."""
    model = convert(network.of_one_size().get_concrete_function())
    processor = PrePostProcessor(model)
    entry = processor.input()
    layout = openvino.Layout("NHWC")
    entry.tensor().set_element_type(openvino.Type.u8).set_layout(layout).set_spatial_dynamic_shape()
    entry.model().set_layout(layout)
    entry.preprocess().resize(ResizeAlgorithm.RESIZE_BILINEAR_PILLOW)
    model = processor.build()
    model.input(0).set_names({INPUT})
    model.output(0).set_names({OUTPUT})
    for name, value in network.contract.properties().items():
        model.set_rt_info(value, [METADATA_NAME, name])
    openvino.save_model(model, path, compress_to_fp16=False)


@lru_cache(maxsize=1)  # several files are written from it; an attribute would go into the SavedModel
def _frozen(network: Calibrated) -> tf.types.experimental.ConcreteFunction:
    """Return `of_one_size` with the weights as constants in it."""
    return with_constants(network.of_one_size().get_concrete_function())


def write_litert(network: Calibrated, path: Path, kind: str) -> None:
    """Write LiteRT (.tflite), the contract in the table of metadata.

    It has no resize that filters over an area, so that it takes images of the network's size only.

    Args:
        network: the network.
        path: the file.
        kind: float32; float16, the weights, computed in float32; int8, the weights of all but depthwise convolutions,
            whose inputs are rounded to 8 bits by the range that they have in each image (dynamic-range quantization).
            A range fixed beforehand, from training images, loses the small values of a wide one.
    """
    words = preprocessing(network.contract.conversion, resizes=False)
    contract = replace(network.contract, resizes=False, preprocessing=words)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_frozen(network)], tf.Module())
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(converter.convert()))
    if kind == "int8":
        _widen_depthwise(model)
    buffer, entry = BufferT(), MetadataT()
    buffer.data = json.dumps(contract.properties()).encode()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(entry)
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))


def _widen_depthwise(model: ModelT) -> None:
    """Turn the 8-bit weights of depthwise convolutions into float32: few, and XNNPACK has no kernel for them."""
    (graph,) = model.subgraphs
    for operator in graph.operators:
        weights = graph.tensors[operator.inputs[1]] if len(operator.inputs) > 1 else None
        kind = model.operatorCodes[operator.opcodeIndex].builtinCode
        if kind == BuiltinOperator.DEPTHWISE_CONV_2D and weights and weights.type == TensorType.INT8:
            buffer = model.buffers[weights.buffer]
            values = np.frombuffer(bytes(buffer.data), np.int8).reshape(weights.shape)
            scaled = values * np.asarray(weights.quantization.scale, np.float32)  # a scale for each channel
            buffer.data = np.frombuffer(scaled.tobytes(), np.uint8)
            weights.type, weights.quantization = TensorType.FLOAT32, None


def int8_share(path: Path) -> float:
    """Return the fraction of the weights of a LiteRT file that have 8 bits, rounded to 0.001."""
    model = flatbuffer_utils.read_model(str(path))
    counts = {TensorType.INT8: 0, TensorType.FLOAT32: 0}
    for tensor in model.subgraphs[0].tensors:
        if tensor.type in counts and model.buffers[tensor.buffer].data is not None:
            counts[tensor.type] += int(np.prod(tensor.shape))
    return round(counts[TensorType.INT8] / max(sum(counts.values()), 1), 3)
