"""Run the frozen trunk below a cut once over every image and view: python -m stages.embed head|finetune."""

import shutil

from transfer.core.cost import measured
from transfer.core.declared import fill, reads, writes
from transfer.core.errors import argument, run
from transfer.core.params import read_params
from transfer.core.spec import Spec
from transfer.inference.embed import TrunkEngine, backbone_trunk, embed_splits
from transfer.records.activations import make_plan
from transfer.records.views import count_views
from transfer.workers.runners import make_runner

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
    cut, augment, wanted = {
        "head": ("top", "cached", params.head.views),
        "finetune": (params.finetune.cut, params.finetune.augment, params.finetune.views),
    }[item]
    spec = Spec.read(SPEC)
    plan = make_plan(params.backbone, cut, augment, count_views(wanted, spec.symmetry, f"{item}.views"))
    folder = fill(ACTIVATIONS, item)
    shutil.rmtree(folder, ignore_errors=True)
    with measured(fill(COST, item)) as cost, make_runner(params.runner, params.dask) as runner:
        trunk = backbone_trunk(params.backbone, spec.image_size, WEIGHTS, plan.cut, params.head.pooling)
        engine = TrunkEngine(trunk, params.engine, TRAIN, spec)
        cost["images"] = embed_splits(runner, engine, (TRAIN, VALIDATION), plan, folder)
    print(f"read   {TRAIN.parent}: {spec.counts['train']} images to train on, {spec.counts['validation']} to validate")
    print(f"wrote  {folder}: {plan.cached} views at the cut {plan.cut}")


if __name__ == "__main__":
    run(main)
