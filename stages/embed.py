"""Run the frozen trunk below a cut once over every image and view: python -m stages.embed head|finetune."""

import shutil

from transfer.activations import bytes_needed, embed, require_space
from transfer.backbones.registry import trained_backbone
from transfer.cost import measured
from transfer.determinism import fix_seeds
from transfer.engine import check_agreement, make_engine
from transfer.errors import argument, run
from transfer.network import frozen_trunk
from transfer.params import read_params
from transfer.paths import fill, fresh_file, reads, writes
from transfer.records import normalise, read_records
from transfer.spec import Spec
from transfer.views import count_views

PARAMS = reads("params.yaml")
SPEC = reads("data/records/spec.json")
TRAIN = reads("data/records/train")
VALIDATION = reads("data/records/validation")
WEIGHTS = reads("models/backbone.weights.h5")
ACTIVATIONS = writes("data/activations/{item}")
COST = writes("metrics/cost/embed-{item}.json")


def main() -> None:
    """Cut the backbone, check the engine, compute, write."""
    item = argument("head", "finetune")
    params = read_params(PARAMS)
    cut = {"head": "top", "finetune": params.finetune.cut}[item]
    wanted = {"head": params.head.views, "finetune": params.finetune.views}[item]
    spec = Spec.read(SPEC)
    views = count_views(wanted, spec.symmetry, f"{item}.views")
    folder = fill(ACTIVATIONS, item)
    shutil.rmtree(folder, ignore_errors=True)
    fix_seeds(0)
    with measured(fresh_file(fill(COST, item))) as cost:
        trunk = frozen_trunk(trained_backbone(params.backbone, spec.image_size, WEIGHTS), params.backbone, cut)
        images = spec.counts["train"] * views + spec.counts["validation"]
        needed = bytes_needed(trunk, images)
        print(f"will write {needed / 1e6:,.0f} MB: {trunk.output_shape[1:]} float16 of {images} views")
        require_space(needed, folder.parent)
        engine = make_engine(trunk, params.engine)
        difference = check_agreement(engine, trunk, normalise(next(read_records(TRAIN, spec, 32)).pixels))
        embed(engine, trunk, TRAIN, spec, views, folder / "train")
        embed(engine, trunk, VALIDATION, spec, 1, folder / "validation")
        cost["images"] = images
    print(f"read   {TRAIN.parent}: {spec.counts['train']} images in {views} views, and the validation images")
    print(f"wrote  {folder}, computed by {engine.name}, within {difference:.1e} of TensorFlow")


if __name__ == "__main__":
    run(main)
