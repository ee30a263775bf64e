"""Tests of transfer/fused.py."""

import keras
import numpy as np
import pytest
from keras import layers

from transfer.backbones import efficientnet_lite
from transfer.backbones.names import CUTS
from transfer.errors import UserError
from transfer.fused import FusedConvolution, layers_above


def _random_backbone(seed: int = 0) -> keras.Model:
    """EfficientNet-Lite0 for 32 pixels, with batch normalisation that does something and features that are not 0."""
    keras.utils.set_random_seed(seed)
    model = efficientnet_lite.build(32)
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            channels = layer.gamma.shape
            parts = [random.uniform(0.8, 1.6, channels), random.normal(0, 0.2, channels)]
            layer.set_weights([*parts, random.normal(0, 0.2, channels), random.uniform(0.3, 0.8, channels)])
    return model


def _plain_tail(model: keras.Model, last_below: str) -> keras.Model:
    return keras.Model(model.get_layer(last_below).output, model.output)


@pytest.mark.parametrize("cut", CUTS["efficientnet_lite0"])
def test_cut_in_two_gives_what_the_uncut_network_gives(cut: str) -> None:
    model = _random_backbone()
    last = efficientnet_lite.last_layer_below(cut)
    pixels = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    expected = model(pixels, training=False).numpy()
    assert np.std(expected) > 0.1
    trunk = keras.Model(model.input, model.get_layer(last).output)
    received = layers_above(model, last)(trunk(pixels, training=False)).numpy()
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_batch_normalisation_in_inference_mode() -> None:
    import tensorflow as tf

    model = _random_backbone()
    last = efficientnet_lite.last_layer_below("block6")
    activations = np.random.default_rng(1).normal(0, 1, (4, 1, 1, 192)).astype(np.float32)
    gradients = []
    for top in (layers_above(model, last), _plain_tail(model, last)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(top(activations, training=False)))
        variables = {variable.path: variable for variable in top.trainable_variables}
        values = tape.gradient(loss, [variable.value for variable in variables.values()])
        gradients.append(dict(zip(variables, (value.numpy() for value in values), strict=True)))
    fused, plain = gradients
    assert set(fused) == set(plain)
    assert len(plain) == 3 * 3 + 3  # kernel, gamma, beta of expand, depthwise, project and top
    for path, expected in plain.items():
        np.testing.assert_allclose(fused[path], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max(), err_msg=path)


def test_every_convolution_of_lite0_is_fused() -> None:
    above = layers_above(_random_backbone(), efficientnet_lite.last_layer_below("block5"))
    kinds = [type(layer) for layer in above.layers]
    assert kinds.count(FusedConvolution) == 5 * 3 + 1
    assert layers.BatchNormalization not in kinds


def test_moving_averages_stay_in_training_mode() -> None:
    model = _random_backbone()
    above = layers_above(model, efficientnet_lite.last_layer_below("block6"))
    before = model.get_layer("top_bn").get_weights()[2:]
    above(np.ones((4, 1, 1, 192), np.float32), training=True)
    for one, other in zip(before, model.get_layer("top_bn").get_weights()[2:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_cut_inside_a_residual_connection_is_refused() -> None:
    with pytest.raises(UserError, match="need more from below than its activations"):
        layers_above(_random_backbone(), "block2b_expand_relu")
