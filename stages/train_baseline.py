"""Train a network from scratch, to compare with: python -m stages.train_baseline ann|cnn."""

from functools import partial

from transfer.core.declared import fill, reads, writes
from transfer.core.errors import argument, run
from transfer.core.params import read_params
from transfer.core.spec import Spec
from transfer.networks.model_files import ModelFiles
from transfer.networks.network import baseline_architecture, build
from transfer.networks.seeds import fix_seeds
from transfer.records.views import count_views
from transfer.training.batches import Batching
from transfer.training.checkpoints import Checkpoint
from transfer.training.fit import Outputs, fit, in_float32
from transfer.training.recipe import Job, Recipe
from transfer.training.record_batches import small_batches
from transfer.training.strategy import training_on

PARAMS = reads("params.yaml")
SPEC = reads("data/records/spec.json")
TRAIN = reads("data/records/train")
VALIDATION = reads("data/records/validation")
INPUTS = (PARAMS, SPEC, TRAIN, VALIDATION)
ARCHITECTURE = writes("models/{item}.json")
WEIGHTS = writes("models/{item}.weights.h5")
PREDICTED = writes("models/{item}.validation.npy")
CURVES = writes("plots/history/{item}")
METRICS = writes("metrics/train/{item}.json")
COST = writes("metrics/cost/train-{item}.json")


def main() -> None:
    """Shrink the images, build, train, write."""
    item = argument("ann", "cnn")
    params = read_params(PARAMS)
    baseline = {"ann": params.baselines.ann, "cnn": params.baselines.cnn}[item]
    spec = Spec.read(SPEC)
    views = count_views(params.baselines.views, spec.symmetry, "baselines.views")
    fix_seeds(params.seed)
    architecture = baseline_architecture(baseline, spec.image_size, spec.classes)
    recipe = Recipe(
        epochs=baseline.epochs,
        lr=baseline.lr,
        class_weights=params.class_weights,
        time_budget_s=params.time_budget_s,
    )
    model = ModelFiles(fill(ARCHITECTURE, item), fill(WEIGHTS, item), fill(PREDICTED, item))
    outputs = Outputs(model, fill(METRICS, item), fill(COST, item))
    with training_on(params.precision):
        network = build(architecture)
        batching = Batching(params.labels, params.batch_size, params.seed)
        data = partial(small_batches, in_float32(network).trunk, (TRAIN, VALIDATION), spec, views, batching)
        job = Job(item, network.top, spec, recipe, fill(CURVES, item), checkpoint=Checkpoint(item, INPUTS))
        fit(job, network, data, outputs, may_collapse=True)


if __name__ == "__main__":
    run(main)
