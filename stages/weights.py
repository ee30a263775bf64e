"""Fetch the pre-trained weights of the backbone into models/backbone.weights.h5."""

from transfer.core.declared import reads, writes
from transfer.core.errors import run
from transfer.core.params import read_params
from transfer.networks.backbones.registry import pretrained
from transfer.networks.backbones.weights import save_weights
from transfer.networks.seeds import fix_seeds

PARAMS = reads("params.yaml")
WEIGHTS = writes("models/backbone.weights.h5")


def main() -> None:
    """Check the file of weights, or draw random ones, and write them as Keras weights."""
    params = read_params(PARAMS)
    fix_seeds(params.seed)
    model, origin = pretrained(params.backbone, params.weights, params.image_size, params.seed)
    save_weights(model, WEIGHTS)
    print(f"read   {origin.source}")
    print(f"wrote  {WEIGHTS}: {params.backbone}, {model.count_params():,} parameters")
    print(f"       licence: {origin.licence}")


if __name__ == "__main__":
    run(main)
