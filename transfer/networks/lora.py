"""Low-rank updates of a transformer's kernels (LoRA): Hu et al. 2021, arXiv:2106.09685.

Beside a kernel that stays as it is, the product of two small matrices is trained and added to it. In the end it becomes
part of the kernel, so that a trained network is stored, evaluated and exported as any other.
"""

from collections.abc import Iterator

import keras
from keras import layers, ops

from transfer.core.errors import UserError
from transfer.networks.backbones.graph import blocks
from transfer.networks.network import Network

RANK = 8
"""Columns of the first matrix and rows of the second; alpha is the same, so that the product is added unscaled."""


def _flat(layer: layers.Layer) -> Iterator[layers.Layer]:
    return iter(layer._flatten_layers())  # each once, those inside others too


def add_updates(network: Network) -> None:
    """Have low-rank updates trained instead of the backbone: for the dense layers in the blocks above the cut.

    All other variables of the backbone are frozen; the head is trained as before. At first the updates are 0.

    Raises:
        UserError: there is no such layer.
    """
    inside = [layer for block in blocks(network.top) for layer in _flat(block)]
    dense = [layer for layer in inside if isinstance(layer, (layers.Dense, layers.EinsumDense))]
    if not dense:
        raise UserError(
            "params.yaml: finetune.method: lora trains updates of the dense layers in transformer blocks, and this "
            f"backbone has none above the cut {network.cut}; set finetune.method to full, or finetune.cut lower"
        )
    for variable in network.backbone.trainable_variables:
        variable.trainable = False
    for layer in dense:
        layer.enable_lora(RANK)


def merge_updates(network: keras.Model) -> None:
    """Add low-rank updates to their kernels and remove them; a network that has none stays as it is."""
    for layer in _flat(network):
        if getattr(layer, "lora_enabled", False):
            updates = layer.lora_kernel_a, layer.lora_kernel_b
            layer._kernel.assign_add(ops.matmul(*updates))
            layer._tracker.unlock()
            for variable in updates:
                variable.assign(ops.zeros_like(variable))  # what was traced before still adds their product
                layer._untrack_variable(variable)
            layer._tracker.lock()
            layer.lora_enabled, layer.lora_rank = False, None
