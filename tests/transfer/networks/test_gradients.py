"""Tests of transfer/networks/gradients.py."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from transfer.networks.gradients import add_shift, depthwise

SIZE, CHANNELS = 11, 3


def _gradients(function: Callable[..., tf.Tensor], *inputs: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return a function's value, and the gradients of a sum that weighs each of its elements differently."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
        total = tf.reduce_sum(value * tf.reshape(tf.range(tf.size(value), dtype=tf.float32) % 7, value.shape))
    return value, tape.gradient(total, inputs)


def _inputs(width: int) -> tuple[tf.Tensor, tf.Tensor]:
    random = np.random.default_rng(width)
    shapes = (2, SIZE, SIZE + 1, CHANNELS), (width, width, CHANNELS, 1)
    return tuple(tf.constant(random.normal(size=shape), tf.float32) for shape in shapes)


@pytest.mark.parametrize("width", [3, 5, 7])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_depthwise_has_the_values_and_gradients_of_keras(width: int, strides: tuple[int, int], padding: str) -> None:
    inputs = _inputs(width)
    expected, slow = _gradients(lambda x, kernel: ops.depthwise_conv(x, kernel, strides, padding), *inputs)
    received, fast = _gradients(lambda x, kernel: depthwise(x, kernel, strides, padding), *inputs)
    np.testing.assert_array_equal(received, expected)
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("width", "paddings"), [(3, {b"SAME"}), (5, {b"EXPLICIT"})])
def test_only_wide_kernels_take_the_gradient_with_explicit_padding(width: int, paddings: set[bytes]) -> None:
    def gradients(x: tf.Tensor, kernel: tf.Tensor) -> list[tf.Tensor]:
        return _gradients(lambda x, kernel: depthwise(x, kernel, (1, 1), "same"), x, kernel)[1]

    operations = tf.function(gradients).get_concrete_function(*_inputs(width)).graph.get_operations()
    found = [each for each in operations if each.type == "DepthwiseConv2dNativeBackpropFilter"]
    assert {each.get_attr("padding") for each in found} == paddings


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_shift_has_the_sum_of_the_gradient(dtype: str) -> None:
    x, _ = _inputs(3)
    x, shift = ops.cast(x, dtype), keras.ops.convert_to_tensor([1.0, 2.0, 3.0], dtype)
    expected, slow = _gradients(lambda x, shift: tf.cast(x + shift, tf.float32), x, shift)
    received, fast = _gradients(lambda x, shift: tf.cast(add_shift(x, shift), tf.float32), x, shift)
    np.testing.assert_array_equal(received, expected)
    for one, other in zip(fast, slow, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(tf.cast(one, tf.float32), tf.cast(other, tf.float32), rtol=2e-2)
