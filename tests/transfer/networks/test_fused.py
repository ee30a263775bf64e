"""Tests of transfer/networks/fused.py."""

import keras
import numpy as np
import pytest
from keras import layers

from transfer.core.cuts import CUTS
from transfer.core.errors import UserError
from transfer.networks.backbones import efficientnet_lite
from transfer.networks.fused import FusedConvolution, Inference, layers_above

NAME = "efficientnet_lite0"


def _random_backbone(seed: int = 0) -> keras.Model:
    """EfficientNet-Lite0 for 32 pixels, with batch normalisation that does something and features that are not 0."""
    keras.utils.set_random_seed(seed)
    model = efficientnet_lite.build(NAME, 32)
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            channels = layer.gamma.shape
            parts = [random.uniform(0.8, 1.6, channels), random.normal(0, 0.2, channels)]
            layer.set_weights([*parts, random.normal(0, 0.2, channels), random.uniform(0.3, 0.8, channels)])
    return model


def _above(model: keras.Model, last_below: str) -> keras.Model:
    return layers_above(model, model.get_layer(last_below).output)


def _plain_tail(model: keras.Model, last_below: str) -> keras.Model:
    return keras.Model(model.get_layer(last_below).output, model.output)


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    """A backbone for tests that only read it."""
    return _random_backbone()


@pytest.mark.parametrize("cut", CUTS[NAME][:-1])
def test_cut_in_two_gives_what_the_uncut_network_gives(cut: str, backbone: keras.Model) -> None:
    last = efficientnet_lite.last_layer_below(NAME, cut)
    pixels = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    expected = backbone(pixels, training=False).numpy()
    assert np.std(expected) > 0.1
    tensor = backbone.get_layer(last).output
    trunk = keras.Model(backbone.input, tensor)
    received = layers_above(backbone, tensor)(trunk(pixels, training=False)).numpy()
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_batch_normalisation_in_inference_mode() -> None:
    import tensorflow as tf

    model = _random_backbone()
    last = efficientnet_lite.last_layer_below(NAME, "block6")
    activations = np.random.default_rng(1).normal(0, 1, (4, 1, 1, 192)).astype(np.float32)
    gradients = []
    for top in (_above(model, last), _plain_tail(model, last)):
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
    above = _above(_random_backbone(), efficientnet_lite.last_layer_below(NAME, "block5"))
    kinds = [type(layer) for layer in above.layers]
    assert kinds.count(FusedConvolution) == 5 * 3 + 1
    assert layers.BatchNormalization not in kinds


def test_moving_averages_stay_in_training_mode() -> None:
    model = _random_backbone()
    above = _above(model, efficientnet_lite.last_layer_below(NAME, "block6"))
    before = model.get_layer("top_bn").get_weights()[2:]
    above(np.ones((4, 1, 1, 192), np.float32), training=True)
    for one, other in zip(before, model.get_layer("top_bn").get_weights()[2:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_cut_inside_a_residual_connection_is_refused() -> None:
    with pytest.raises(UserError, match="need more from below than its activations"):
        _above(_random_backbone(), "block2b_expand_relu")


def _with_other_layers(training_matters: float) -> keras.Model:
    """A network with what Lite0 has not: a bias before batch normalisation, one that stands alone, two inputs from one
    tensor, arithmetic on tensors, a nested model, a call with options, and dropout."""
    keras.utils.set_random_seed(1)
    entry = keras.Input((8, 8, 3), name="pixels")
    cut = layers.ReLU(name="cut")(layers.Conv2D(4, 3, padding="same")(entry))
    x = layers.Conv2D(4, 3, padding="same", bias_initializer="random_normal", name="biased")(cut)
    x = layers.BatchNormalization(moving_mean_initializer="random_normal", name="behind")(x)
    gate = layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)
    x = layers.Multiply()([x, gate])
    x = layers.BatchNormalization(moving_mean_initializer="random_normal", name="alone")(x)
    x = keras.Sequential([layers.LayerNormalization(), layers.Conv2D(4, 1)], name="nested")(x)
    x = layers.Dropout(training_matters, noise_shape=(None, 1, 1, 1))(x)
    x = layers.MultiHeadAttention(1, 4)(layers.Reshape((64, 4))(x), layers.Reshape((64, 4))(cut), use_causal_mask=True)
    return keras.Model(entry, x)


def test_any_layers_give_what_the_uncut_network_gives_also_in_training_mode() -> None:
    model = _with_other_layers(0.0)
    pixels = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    expected = model(pixels, training=False).numpy()
    assert np.std(expected) > 0.01
    above = _above(model, "cut")
    kinds = [type(layer) for layer in above.layers]
    assert (kinds.count(FusedConvolution), kinds.count(Inference)) == (1, 1)
    before = [np.array(variable) for variable in model.variables]
    activations = keras.Model(model.input, model.get_layer("cut").output)(pixels)
    for training in (False, True):
        np.testing.assert_allclose(above(activations, training=training).numpy(), expected, atol=1e-5)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value, err_msg=variable.path)
    above_paths = {variable.path for variable in above.trainable_variables}
    assert {v.path for v in model.trainable_variables} - above_paths == {v.path for v in model.layers[1].variables}


def test_dropout_follows_the_training() -> None:
    above = _above(_with_other_layers(0.5), "cut")
    activations = np.random.default_rng(0).random((16, 8, 8, 4), np.float32)
    still = above(activations, training=False).numpy()
    np.testing.assert_array_equal(above(activations, training=False).numpy(), still)
    assert np.any(above(activations, training=True).numpy() != still)
