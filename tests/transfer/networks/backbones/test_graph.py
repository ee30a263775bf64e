"""Tests of transfer/networks/backbones/graph.py on small networks, one of each kind that keras.applications has."""

import keras
import pytest
from keras import layers

from transfer.networks.backbones.graph import default_cut, find_blocks, find_places


def _convolve(x: keras.KerasTensor, channels: int, stride: int = 1, kernel: int = 3) -> keras.KerasTensor:
    x = layers.Conv2D(channels, kernel, stride, "same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _found(pixels: keras.KerasTensor, output: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """The tensors at the cuts, in order. Each can be cut at: what is above needs nothing else."""
    found = {name: place.tensor for name, place in find_places(keras.Model(pixels, output)).items()}
    for tensor in list(found.values())[:-1]:
        keras.Model(tensor, output)
    return found


@pytest.fixture
def pixels() -> keras.KerasTensor:
    return keras.Input((64, 64, 3))


def test_residual_stages_are_those_of_one_width(pixels: keras.KerasTensor) -> None:
    """As in ResNet: the stem ends behind its pooling, and an activation belongs to the addition below it."""
    x = stem = layers.MaxPooling2D(3, 2, "same")(layers.ZeroPadding2D(1)(_convolve(pixels, 8, 2)))
    ends = []
    for channels, stride in ((16, 1), (16, 1), (32, 2), (32, 1)):
        shortcut = layers.Conv2D(channels, 1, stride)(x) if x.shape[-1] != channels else x
        x = layers.Add()([shortcut, layers.Conv2D(channels, 3, stride, "same")(_convolve(x, 4))])
        x = layers.ReLU()(x)
        ends.append(x)
    output = _convolve(x, 64)
    found = _found(pixels, output)
    assert list(found) == ["stem", "stage1.block1", "stage1", "stage2.block1", "stage2", "top"]
    assert all(a is b for a, b in zip(found.values(), [stem, *ends, output], strict=True))


def _squeeze_and_excite(x: keras.KerasTensor) -> keras.KerasTensor:
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Multiply()([x, layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(gate)])


def test_inverted_blocks_end_where_they_are_narrow(pixels: keras.KerasTensor) -> None:
    """As in EfficientNet: the first block of a stage has no addition, and squeeze-and-excitation ends no block."""
    x = stem = _convolve(pixels, 16, 2)
    ends = []
    for channels, stride in ((8, 1), (12, 2), (12, 1), (20, 1)):
        entry, x = x, _squeeze_and_excite(_convolve(_convolve(x, 6 * x.shape[-1], kernel=1), 48, stride))
        x = layers.BatchNormalization()(layers.Conv2D(channels, 1)(x))
        x = layers.Add()([entry, x]) if entry.shape == x.shape else x
        ends.append(x)
    output = _convolve(x, 80, kernel=1)
    found = _found(pixels, output)
    assert list(found) == ["stem", "stage1", "stage2.block1", "stage2", "stage3", "top"]
    assert all(a is b for a, b in zip(found.values(), [stem, *ends, output], strict=True))


def test_a_chain_is_cut_where_the_image_becomes_smaller(pixels: keras.KerasTensor) -> None:
    """As VGG: behind the pooling, where activations are fewest; the last is the top."""
    x, ends = pixels, []
    for channels in (8, 16, 16):
        x = layers.MaxPooling2D()(_convolve(_convolve(x, channels), channels))
        ends.append(x)
    found = _found(pixels, x)
    assert list(found) == ["stage1", "stage2", "top"]
    assert all(a is b for a, b in zip(found.values(), ends, strict=True))


def test_padding_and_strides_belong_to_the_layer_above(pixels: keras.KerasTensor) -> None:
    """As in MobileNet: the cut is below the padding, and a layer that makes the image smaller is above the cut."""
    x = stem = _convolve(pixels, 8, 2)
    x = end = _convolve(_convolve(x, 8), 16, kernel=1)
    x = layers.DepthwiseConv2D(3, 2, "valid")(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    output = _convolve(_convolve(x, 32, kernel=1), 32)
    found = _found(pixels, output)
    assert list(found) == ["stem", "stage1", "top"]
    assert found["stem"] is stem
    assert found["stage1"] is end


def test_a_cut_is_below_an_expansion_even_where_nothing_narrows_before_it(pixels: keras.KerasTensor) -> None:
    """As in MobileNetV3Small, whose first block is as wide as the stem."""
    x = stem = _convolve(pixels, 8, 2)
    x = end = _convolve(x, 8, 2)
    x = _convolve(_convolve(x, 48, kernel=1), 48, 2)
    found = _found(pixels, layers.Conv2D(12, 1)(x))
    assert list(found) == ["stem", "stage1", "top"]
    assert found["stem"] is stem
    assert found["stage1"] is end


def test_concatenated_blocks_are_of_one_stage_while_the_size_stays(pixels: keras.KerasTensor) -> None:
    """As in DenseNet, where each block adds channels, until a narrow one in between halves the size."""
    x = stem = _convolve(pixels, 8, 2)
    ends = []
    for _ in range(2):
        for _ in range(2):
            x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same")(x)])
            ends.append(x)
        x = layers.AveragePooling2D(2)(layers.Conv2D(x.shape[-1] // 2, 1)(x))
        ends.append(x)
    found = _found(pixels, x)
    assert list(found) == ["stem", "stage1.block1", "stage1", "stage2.block1", "stage2.block2", "stage2", "top"]
    assert all(a is b for a, b in zip(found.values(), [stem, *ends], strict=True))


def test_where_blocks_read_the_last_two_only_the_stem_is_left(pixels: keras.KerasTensor) -> None:
    """As in NASNet."""
    before = x = stem = layers.Conv2D(8, 3, 2)(pixels)
    for _ in range(4):
        before, x = x, layers.Add()([layers.Conv2D(8, 3, padding="same")(x), before])
    model = keras.Model(pixels, x)
    places = find_places(model)
    assert list(places) == ["stem", "top"]
    assert places["stem"].tensor is stem
    assert default_cut(places) == "stem"


@pytest.mark.parametrize(
    ("blocks", "expected"), [((1, 1, 1, 1), "stage3"), ((3, 4, 2, 1), "stage2"), ((6, 1, 1, 1), "stage1")]
)
def test_by_default_about_two_thirds_stay_frozen(
    pixels: keras.KerasTensor, blocks: tuple[int, ...], expected: str
) -> None:
    """A stage counts as frozen whole or not at all, and the nearest end is taken."""
    x = pixels
    for channels, count in zip((8, 16, 32, 64), blocks, strict=True):
        for _ in range(count):
            x = _convolve(x, channels)
        x = layers.MaxPooling2D()(x)
    assert default_cut(find_places(keras.Model(pixels, x))) == expected


def test_places_know_their_stride_and_the_kernels_below(pixels: keras.KerasTensor) -> None:
    downsample = keras.Sequential([layers.LayerNormalization(), layers.Conv2D(16, 2, 2)])
    x = keras.Sequential([layers.Conv2D(8, 4, 4), layers.LayerNormalization()])(pixels)
    x = layers.Add()([x, layers.Dense(8)(layers.Dense(32)(x))])
    x = downsample(x)
    x = layers.Add()([x, layers.Dense(16)(x)])
    places = find_places(keras.Model(pixels, layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))))
    found = {name: (place.stride, place.kernels, place.channels) for name, place in places.items() if name != "top"}
    assert found == {"stem": (4, 1, 8), "stage1": (4, 3, 8), "stage2": (8, 5, 16)}


def _attention_block(tokens: keras.KerasTensor, name: str) -> keras.KerasTensor:
    entry = keras.Input(tokens.shape[1:])
    inner = layers.LayerNormalization()(entry)
    return keras.Model(entry, entry + layers.MultiHeadAttention(1, 4)(inner, inner), name=name)(tokens)


def test_a_transformer_is_cut_between_its_blocks() -> None:
    pixels = keras.Input((8, 8, 3))
    tokens = layers.Reshape((16, 4))(layers.Conv2D(4, 2, 2)(pixels))
    for i in range(3):
        tokens = _attention_block(tokens, f"block_{i}")
    places = find_blocks(keras.Model(pixels, layers.LayerNormalization()(tokens)))
    assert list(places) == ["stem", "block1", "block2", "block3", "top"]
    assert places["block2"].tensor.shape == (None, 16, 4)
    assert default_cut(places) == "block2"


def test_blocks_of_other_shapes_are_in_stages() -> None:
    pixels = keras.Input((8, 8, 3))
    tokens = layers.Reshape((16, 4))(layers.Conv2D(4, 2, 2)(pixels))
    tokens = _attention_block(_attention_block(tokens, "a"), "b")
    tokens = _attention_block(layers.Reshape((8, 8))(tokens), "c")
    places = find_blocks(keras.Model(pixels, layers.LayerNormalization()(tokens)))
    assert list(places) == ["stem", "stage1.block1", "stage1", "stage2", "top"]


def test_what_stays_alive_beside_a_block_is_no_place_to_cut() -> None:
    pixels = keras.Input((8, 8, 3))
    tokens = first = layers.Reshape((16, 4))(layers.Conv2D(4, 2, 2)(pixels))
    for i in range(3):
        tokens = _attention_block(tokens, f"block_{i}")
    assert find_blocks(keras.Model(pixels, tokens + first)) == {}
