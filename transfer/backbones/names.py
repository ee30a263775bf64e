"""The backbones' names and cuts. Apart from the networks, so that params.yaml is checked without loading Keras."""

CUTS: dict[str, tuple[str, ...]] = {
    "efficientnet_lite0": (
        "stem",
        *("block1", "block2a", "block2", "block3a", "block3", "block4a", "block4b", "block4"),
        *("block5a", "block5b", "block5", "block6a", "block6b", "block6c", "block6", "block7", "top"),
    ),
}
"""Name of a backbone: its cuts from the pixels upwards. A cut is named after the last block that stays frozen."""
