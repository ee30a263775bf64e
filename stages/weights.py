"""Bring the pre-trained weights of the backbone into models/backbone.weights.h5."""

from transfer.backbones.registry import pretrained
from transfer.errors import run
from transfer.params import read_params
from transfer.paths import fresh_file, reads, writes

PARAMS = reads("params.yaml")
WEIGHTS = writes("models/backbone.weights.h5")


def main() -> None:
    """Check the pinned file, and write its tensors as Keras weights."""
    params = read_params(PARAMS)
    model, source = pretrained(params.backbone, params.weights)
    model.save_weights(fresh_file(WEIGHTS))
    print(f"read   {source.file} (package {source.package} {source.version}, SHA-256 as pinned)")
    print(f"wrote  {WEIGHTS}: {params.backbone}, {model.count_params():,} parameters")
    print(f"       licence: {source.licence}")


if __name__ == "__main__":
    run(main)
