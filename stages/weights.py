"""Fetch the backbone with its pre-trained weights into models/backbone.json and models/backbone.weights.h5."""

from transfer.core.cuts import Found, Hub
from transfer.core.declared import reads, writes
from transfer.core.errors import run
from transfer.core.params import read_params
from transfer.networks.backbones.registry import fetch
from transfer.networks.backbones.weights import save_weights
from transfer.networks.seeds import fix_seeds

PARAMS = reads("params.yaml")
FOLDERS = reads("data/backbones")
BACKBONE = writes("models/backbone.json")
WEIGHTS = writes("models/backbone.weights.h5")


def main() -> None:
    """Check the file of weights, or draw random ones, and write them as Keras weights."""
    params = read_params(PARAMS)
    fix_seeds(params.seed)
    backbone, model, origin = fetch(
        params.backbone, params.weights, params.image_size, params.seed, FOLDERS, params.pixels
    )
    save_weights(model, WEIGHTS)
    Found(backbone).write(BACKBONE)
    print(f"read   {origin.source}")
    print(f"wrote  {WEIGHTS}: {params.backbone}, {model.count_params():,} parameters, {params.image_size} px")
    print(f"       licence: {origin.licence}")
    if isinstance(backbone, Hub) and params.weights == "preset":
        print("       to have this stage fail if the source ever gives other weights, set")
        print(f"       weights: {{sha256: {backbone.sha256}}} in params.yaml")


if __name__ == "__main__":
    run(main)
