"""Run the frozen trunk below a cut once over every image and view: python -m stages.embed head|finetune."""

import shutil

from transfer.activations import embed_splits, make_plan
from transfer.backbones.registry import trained_backbone
from transfer.cost import measured
from transfer.determinism import fix_seeds
from transfer.errors import argument, run
from transfer.network import frozen_trunk
from transfer.params import read_params
from transfer.paths import fill, reads, writes
from transfer.spec import Spec

PARAMS = reads("params.yaml")
SPEC = reads("data/records/spec.json")
TRAIN = reads("data/records/train")
VALIDATION = reads("data/records/validation")
WEIGHTS = reads("models/backbone.weights.h5")
ACTIVATIONS = writes("data/activations/{item}")
COST = writes("metrics/cost/embed-{item}.json")


def main() -> None:
    """Cut the backbone, check the engine, compute and write what training will read; images that it reads, not."""
    item = argument("head", "finetune")
    params = read_params(PARAMS)
    cut = {"head": "top", "finetune": params.finetune.cut}[item]
    augment = {"head": "cached", "finetune": params.finetune.augment}[item]
    views = {"head": params.head.views, "finetune": params.finetune.views}[item]
    spec = Spec.read(SPEC)
    plan = make_plan(params.backbone, cut, augment, views, spec.symmetry, item)
    folder = fill(ACTIVATIONS, item)
    shutil.rmtree(folder, ignore_errors=True)
    fix_seeds(0)
    with measured(fill(COST, item)) as cost:
        backbone = trained_backbone(params.backbone, spec.image_size, WEIGHTS)
        trunk = frozen_trunk(backbone, params.backbone, plan.cut, params.head.pooling)
        cost["images"] = embed_splits(trunk, (TRAIN, VALIDATION), spec, plan, params.engine, folder)
    print(f"read   {TRAIN.parent}: {spec.counts['train']} images to train on, {spec.counts['validation']} to validate")
    print(f"wrote  {folder}: {plan.cached} views at the cut {plan.cut}")


if __name__ == "__main__":
    run(main)
