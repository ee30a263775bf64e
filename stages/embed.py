"""Run the frozen trunk once over every image and view, for both cuts: that of the head and that of fine-tuning."""

import shutil

from transfer.core.cost import measured
from transfer.core.cuts import Found
from transfer.core.declared import reads, writes
from transfer.core.errors import run
from transfer.core.files import write_json
from transfer.core.params import read_params
from transfer.core.spec import Spec
from transfer.inference.embed import TrunkEngine, backbone_trunk, embed_splits, in_passes
from transfer.records.activations import make_plan
from transfer.records.views import count_views
from transfer.workers.runners import make_runner

PARAMS = reads("params.yaml")
SPEC = reads("data/records/spec.json")
TRAIN = reads("data/records/train")
VALIDATION = reads("data/records/validation")
BACKBONE = reads("models/backbone.json")
WEIGHTS = reads("models/backbone.weights.h5")
HEAD = writes("data/activations/head")
FINETUNE = writes("data/activations/finetune")
COST = writes("metrics/cost/embed.json")


def main() -> None:
    """Cut the backbone, check the engine, compute and write what training will read; images that it reads, not."""
    params = read_params(PARAMS)
    finetune = params.finetune
    spec = Spec.read(SPEC)
    backbone = Found.read(BACKBONE).backbone
    head_views = count_views(params.head.views, spec.symmetry, "head.views")
    finetune_views = count_views(finetune.views, spec.symmetry, "finetune.views")
    plans = {
        HEAD: make_plan(backbone, "top", "cached", head_views),
        FINETUNE: make_plan(backbone, finetune.cut, finetune.augment, finetune_views),
    }
    for folder in plans:
        shutil.rmtree(folder, ignore_errors=True)
    with measured(COST), make_runner(params.runner, params.dask) as runner:
        for together in in_passes(plans):
            cuts = tuple(plan.cut for plan in together.values())
            trunk = backbone_trunk(backbone, spec.image_size, WEIGHTS, cuts, params.head.pooling)
            engine = TrunkEngine(trunk, params.engine, TRAIN, spec)
            embed_splits(runner, engine, (TRAIN, VALIDATION), together)
    print(f"read   {TRAIN.parent}: {spec.counts['train']} images to train on, {spec.counts['validation']} to validate")
    for folder, plan in plans.items():
        write_json({"cut": plan.cut, "views": plan.cached}, folder / "cached.json")
        print(f"wrote  {folder}: {plan.cached} views at the cut {plan.cut}")


if __name__ == "__main__":
    run(main)
