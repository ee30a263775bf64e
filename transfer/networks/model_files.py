"""A trained model on disk: its architecture, its weights and what it said of the validation split."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer.core.errors import UserError, one_line
from transfer.core.files import written_whole
from transfer.networks.backbones.weights import save_weights
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
    load_weights(network, weights)
    return network


def load_weights(network: Network, weights: Path) -> None:
    """Fill the whole network from a file.

    Raises:
        UserError: the file is damaged, or of another architecture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns of some layers that it did not fill
            network.whole.load_weights(weights)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        raise UserError(
            f"{weights}: expected the weights of the network beside it, received: {one_line(error)}"
        ) from error
