"""What is known of the networks of keras.applications without building them: python -m benchmarks.keras_networks

Writes transfer/core/keras_networks.csv, a row for each network: the size it was trained at and the smallest that it
takes, in pixels; its parameters; its cuts (see `networks.backbones.graph`), the default one, and how many activations
each has for a pixel of the image; and the file of weights that Keras downloads. Nothing is downloaded here. Run it
after an update of Keras; it takes some minutes and 4 GB of memory.
"""

import math
import warnings
from typing import Any
from unittest.mock import patch

import keras
import pandas as pd

from transfer.core.cuts import KERAS_NETWORKS
from transfer.core.files import write_csv
from transfer.networks.backbones.graph import Place, default_cut, find_places

SMALLEST = 32  # pixels; of params.yaml, and of networks that do not say


def network_names() -> list[str]:
    """Return the names of all functions of keras.applications that build a network, in order."""
    return [name for name in dir(keras.applications) if name[0].isupper()]


def built(name: str, **options: Any) -> tuple[keras.Model, dict[str, Any]]:
    """Build a network as Keras does with weights of ImageNet, which are not fetched; return what it asked for, too."""
    asked: dict[str, Any] = {"default_size": 224, "min_size": SMALLEST, "file_hash": ""}
    shaped = keras.src.applications.imagenet_utils.obtain_input_shape

    def get_file(_: str, origin: str, **options: object) -> str:
        asked.update(url=origin, **options)
        return ""

    def obtain_input_shape(*arguments: object, **options: object) -> object:
        asked.update(options)
        return shaped(*arguments, **options)

    with (
        patch("keras.src.utils.file_utils.get_file", get_file),
        patch("keras.src.applications.imagenet_utils.obtain_input_shape", obtain_input_shape),
        patch("keras.Model.load_weights"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # MobileNets say that the weights are those for 224 pixels
        return getattr(keras.applications, name)(include_top=False, weights="imagenet", **options), asked


def describe(name: str) -> dict[str, str]:
    """Build a network, and return its row of the table."""
    model, asked = built(name)
    places, size = find_places(model), asked["default_size"]
    cut = default_cut(places)
    cuts = {name: _values_a_pixel(place, size) for name, place in places.items() if name != "top"}
    return {
        "name": name,
        "trained_size": str(size),
        "smallest_size": str(max(SMALLEST, asked["min_size"])),
        "parameters": str(model.count_params()),
        "default": cut,
        "values_a_pixel": str(cuts[cut]),
        "most_values": str(max(cuts.values())),
        "url": asked["url"],
        "hash": asked["file_hash"] or "",
        "cuts": " ".join(places),
    }


def _values_a_pixel(place: Place, size: int) -> float:
    """Activations at a place for each pixel of an image of the size trained at, rounded up."""
    return math.ceil(10 * place.channels * math.ceil(size / place.stride) ** 2 / size**2) / 10


def main() -> None:
    """Describe all networks, and write the table."""
    rows = []
    for name in network_names():
        keras.utils.clear_session()
        rows.append(describe(name))
        print({key: value for key, value in rows[-1].items() if key != "url"}, flush=True)
    write_csv(pd.DataFrame(rows), KERAS_NETWORKS)


if __name__ == "__main__":
    main()
