"""What is known of KerasHub's presets without loading them: python -m benchmarks.hub_presets

Writes transfer/core/hub_presets.csv, a row for each preset of a family that takes an image, or an image and a text: its
parameters, in the second case those of the text's part too, and the size it was trained at, in pixels, as far as its
name or description says so. Nothing is downloaded. Run it after an update of KerasHub.
"""

import inspect
import re
from typing import Any

import keras_hub
import pandas as pd

from transfer.core.cuts import HUB_PRESETS, USUAL_SIZE
from transfer.core.files import write_csv

IMAGE = {"image_shape", "input_shape"}
IMAGE_AND_TEXT = {"vision_encoder", "text_encoder"}
OTHERS = {"image_encoder", "backbone", "num_frames", "geometry_encoder", "vae"}  # to find, segment, draw; for films
SIZES = (192, 224, 240, 256, 288, 320, 336, 378, 384, 448, 512, 518, 640, 1024)
IN_NAME = re.compile(rf"_r?({'|'.join(map(str, SIZES))})(_|$)")
IN_WORDS = re.compile(r"(\d{3,4}) ?x ?\d{3,4}")


def families() -> list[Any]:
    """Return the backbones of KerasHub that take one image, or one and a text."""
    found = []
    for name in dir(keras_hub.models):
        backbone = getattr(keras_hub.models, name)
        if name.endswith("Backbone") and backbone is not keras_hub.models.Backbone and backbone.presets:
            takes = set(inspect.signature(backbone.__init__).parameters)
            if (takes & IMAGE or takes >= IMAGE_AND_TEXT) and not takes & OTHERS:
                found.append(backbone)
    return found


def trained_size(name: str, description: str) -> int:
    """Return the size that a preset's name or description gives, or else the usual one."""
    found = IN_NAME.search(name) or IN_WORDS.search(description)
    return int(found[1]) if found else USUAL_SIZE


def rows() -> list[dict[str, Any]]:
    """Return the table."""
    return [
        {
            "name": name,
            "family": family.__name__.removesuffix("Backbone"),
            "trained_size": trained_size(name, preset["metadata"]["description"]),
            "parameters": preset["metadata"]["params"],
        }
        for family in families()
        for name, preset in family.presets.items()
    ]


def main() -> None:
    """Write the table."""
    table = rows()
    write_csv(pd.DataFrame(table), HUB_PRESETS)
    print(f"wrote  {HUB_PRESETS}: {len(table)} presets of {len({row['family'] for row in table})} families")


if __name__ == "__main__":
    main()
