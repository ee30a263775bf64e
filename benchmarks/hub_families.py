"""A small backbone of each of KerasHub's image families, with random weights, as a folder."""

from collections.abc import Callable
from pathlib import Path

import keras
import keras_hub
from keras_hub.src.models.clip.clip_text_encoder import CLIPTextEncoder
from keras_hub.src.models.clip.clip_vision_encoder import CLIPVisionEncoder
from keras_hub.src.models.metaclip_2.metaclip_2_text_encoder import MetaCLIP2TextEncoder
from keras_hub.src.models.metaclip_2.metaclip_2_vision_encoder import MetaCLIP2VisionEncoder
from keras_hub.src.models.siglip.siglip_text_encoder import SigLIPTextEncoder
from keras_hub.src.models.siglip.siglip_vision_encoder import SigLIPVisionEncoder

hub = keras_hub.models
SIZE = 64
SHAPE = (SIZE, SIZE, 3)
SCALE, OFFSET = (1 / 51.0, 1 / 60.0, 1 / 70.0), (-2.0, -1.0, 0.5)
"""Of pixels in 0–255, as an ImageConverter has them: another for each channel, so that none is taken for another."""
TOKENS = {"num_layers": 3, "num_heads": 2, "hidden_dim": 16}
WORDS = {
    "vocabulary_size": 64, "embedding_dim": 16, "hidden_dim": 16, "num_layers": 1, "num_heads": 2,
    "intermediate_dim": 32, "max_sequence_length": 8,
}  # fmt: skip


def _resnet(block_type: str, pre_activation: bool = False) -> keras.Model:
    return hub.ResNetBackbone(
        [64], [7], [64, 64], [2, 2], [1, 2], block_type, use_pre_activation=pre_activation, image_shape=SHAPE
    )


def _mobilenet() -> keras.Model:
    return hub.MobileNetBackbone(
        stackwise_expansion=[[40, 56], [64, 72]], stackwise_num_blocks=[2, 2],
        stackwise_num_filters=[[16, 16], [24, 24]], stackwise_kernel_size=[[3, 3], [5, 5]],
        stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25]], stackwise_activation=[["relu", "relu"], ["hard_swish"] * 2],
        stackwise_padding=[[1, 1], [2, 2]], output_num_filters=64, input_activation="hard_swish",
        output_activation="hard_swish", input_num_filters=16, depthwise_filters=8, depthwise_stride=2,
        depthwise_residual=False, squeeze_and_excite=0.5, last_layer_filter=64, image_shape=SHAPE,
    )  # fmt: skip


def _mobilenet_v5() -> keras.Model:
    zeros = [[0], [0, 0]]
    return hub.MobileNetV5Backbone(
        stackwise_block_types=[["er"], ["uir", "uir"]], stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[24], [48, 48]], stackwise_strides=[[2], [2, 1]],
        stackwise_act_layers=[["relu"], ["relu", "relu"]], stackwise_exp_ratios=[[4.0], [6.0, 6.0]],
        stackwise_se_ratios=[[0.0], [0.0, 0.0]], stackwise_dw_kernel_sizes=[[0], [5, 5]],
        stackwise_dw_start_kernel_sizes=zeros, stackwise_dw_end_kernel_sizes=zeros,
        stackwise_exp_kernel_sizes=[[3], [0, 0]], stackwise_pw_kernel_sizes=[[1], [0, 0]], stackwise_num_heads=zeros,
        stackwise_key_dims=zeros, stackwise_value_dims=zeros, stackwise_kv_strides=zeros,
        stackwise_use_cpe=[[False], [False, False]], use_msfa=False, image_shape=SHAPE,
    )  # fmt: skip


def _efficientnet() -> keras.Model:
    return hub.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 3, stackwise_depth_coefficients=[1.0] * 3,
        stackwise_kernel_sizes=[3, 3, 5], stackwise_num_repeats=[1, 2, 2], stackwise_input_filters=[8, 8, 16],
        stackwise_output_filters=[8, 16, 24], stackwise_expansion_ratios=[1, 4, 4],
        stackwise_squeeze_and_excite_ratios=[0.25] * 3, stackwise_strides=[1, 2, 2],
        stackwise_block_types=["v1", "v1", "fused"], stackwise_force_input_filters=[0] * 3,
        stackwise_nores_option=[False] * 3, min_depth=4, include_stem_padding=True,
        use_depth_divisor_as_min_depth=False, cap_round_filter_decrease=True, stem_conv_padding="valid",
        batch_norm_momentum=0.9, batch_norm_epsilon=1e-5, dropout=0.1, projection_activation=None,
    )  # fmt: skip


FAMILIES: dict[str, Callable[[], keras.Model]] = {
    "CLIP": lambda: hub.CLIPBackbone(
        CLIPVisionEncoder(patch_size=16, intermediate_dim=32, image_shape=SHAPE, **TOKENS),
        CLIPTextEncoder(**WORDS),
        16,
    ),
    "CSPNet": lambda: hub.CSPNetBackbone(
        8, 3, 2, [1, 2, 2], [1, 2, 2], [8, 16, 24], "dark_block", bottle_ratio=[0.5], expand_ratio=[2.0],
        stage_type="csp", image_shape=SHAPE,
    ),
    "DINOV2": lambda: hub.DINOV2Backbone(
        patch_size=16, intermediate_dim=32, num_register_tokens=2, image_shape=SHAPE,
        position_embedding_shape=(96, 96, 3), **TOKENS,
    ),
    "DINOV3": lambda: hub.DINOV3Backbone(patch_size=16, intermediate_dim=32, image_shape=SHAPE, **TOKENS),
    "DeiT": lambda: hub.DeiTBackbone(SHAPE, 16, intermediate_dim=32, **TOKENS),
    "DenseNet": lambda: hub.DenseNetBackbone([2, 3, 2], growth_rate=8, image_shape=SHAPE),
    "EfficientNet": _efficientnet,
    "HGNetV2": lambda: hub.HGNetV2Backbone(
        depths=[1, 2, 1], embedding_size=8, hidden_sizes=[16, 24, 32], stem_channels=[3, 8, 8], hidden_act="relu",
        use_learnable_affine_block=False,
        stackwise_stage_filters=[[8, 8, 16, 1, 3, 3], [16, 8, 24, 2, 3, 3], [24, 8, 32, 1, 3, 3]],
        apply_downsample=[False, True, True], use_lightweight_conv_block=[False, False, True], image_shape=SHAPE,
    ),
    "MetaCLIP2": lambda: hub.MetaCLIP2Backbone(
        MetaCLIP2VisionEncoder(patch_size=16, intermediate_dim=32, image_shape=SHAPE, **TOKENS),
        MetaCLIP2TextEncoder(**WORDS),
        16,
    ),
    "MiT": lambda: hub.MiTBackbone(
        [1, 2, 2], 3, [1, 2, 2], [4, 2, 1], 0.1, [7, 3, 3], [4, 2, 2], hidden_dims=[16, 16, 32], image_shape=SHAPE
    ),
    "MobileNet": _mobilenet,
    "MobileNetV5": _mobilenet_v5,
    "ResNet": lambda: _resnet("basic_block"),
    "ResNet (v2)": lambda: _resnet("bottleneck_block", pre_activation=True),
    "ResNet (vd)": lambda: hub.ResNetBackbone(
        [32, 32, 64], [3, 3, 3], [64, 64], [2, 2], [1, 2], "basic_block_vd", image_shape=SHAPE
    ),
    "SigLIP": lambda: hub.SigLIPBackbone(
        SigLIPVisionEncoder(patch_size=16, intermediate_dim=32, image_shape=SHAPE, **TOKENS), SigLIPTextEncoder(**WORDS)
    ),
    "SwinTransformer": lambda: hub.SwinTransformerBackbone(SHAPE, 16, [2, 2, 2], [2, 2, 2], 4),
    "VGG": lambda: hub.VGGBackbone([2, 2, 2], [8, 16, 16], image_shape=SHAPE),
    "ViT": lambda: hub.ViTBackbone(SHAPE, 16, mlp_dim=32, **TOKENS),
    "Xception": lambda: hub.XceptionBackbone(
        [[8, 16], [16, 24], [24, 24, 24], [24, 32], [32, 32]], [False, True, False, True, False], image_shape=SHAPE
    ),
}  # fmt: skip
"""By the names in transfer/core/hub_presets.csv."""


def converter(network: keras.Model) -> keras.layers.Layer:
    """Return the layer that prepares pixels in 0–255 for a network of KerasHub."""
    kinds = (getattr(keras_hub.layers, name) for name in dir(keras_hub.layers) if name.endswith("ImageConverter"))
    (kind,) = [kind for kind in kinds if kind.backbone_cls is type(network)]
    return kind(image_size=(SIZE, SIZE), scale=list(SCALE), offset=list(OFFSET))


def write(family: str, folder: Path) -> keras.Model:
    """Write a backbone of a family into a folder as KerasHub does; return the part of it that sees the image."""
    keras.utils.set_random_seed(0)
    network = FAMILIES[family]()
    network.save_to_preset(str(folder))
    converter(network).save_to_preset(str(folder))
    return getattr(network, "vision_encoder", network)
