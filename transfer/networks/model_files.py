"""A trained model on disk: its architecture, its weights and what it said of the validation split."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from transfer.core.files import written_whole
from transfer.networks.backbones.weights import load_file, save_weights
from transfer.networks.network import Architecture, Network, build


@dataclass(frozen=True)
class ModelFiles:
    """Where the parts lie. `validation` holds the probabilities that the training path gave, float32 (n, classes)."""

    architecture: Path
    weights: Path
    validation: Path


def save(network: Network, validation: NDArray[np.float32], files: ModelFiles) -> None:
    """Write a trained model. The weights are those of the whole network, trunk included: the file needs no other."""
    network.architecture.write(files.architecture)
    save_weights(network.whole, files.weights)
    with written_whole(files.validation) as part:
        np.save(part, validation)


def load(architecture_file: Path, weights: Path, cut: str = "top") -> Network:
    """Build the network of a model and fill it.

    Raises:
        UserError: the weights are damaged, or of another architecture.
    """
    network = build(Architecture.read(architecture_file), cut)
    load_file(network.whole, weights, keras.Model.load_weights, name="the network beside it")
    return network
