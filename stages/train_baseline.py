"""Train a network from scratch, to compare with: python -m stages.train_baseline ann|cnn."""

from functools import partial

from transfer.baselines import small_batches
from transfer.declared import fill, reads, writes
from transfer.determinism import fix_seeds
from transfer.devices import training_on
from transfer.errors import argument, run
from transfer.fitting import Outputs, fit, in_float32
from transfer.model_files import ModelFiles
from transfer.network import baseline_architecture, build
from transfer.params import read_params
from transfer.recipe import Recipe
from transfer.spec import Spec
from transfer.views import count_views

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
    outputs = Outputs(model, fill(CURVES, item), fill(METRICS, item), fill(COST, item))
    with training_on(params.precision):
        network = build(architecture)
        trunk = in_float32(network, architecture).trunk
        records, rest = (TRAIN, VALIDATION), (params.labels, params.batch_size, params.seed)
        data = partial(small_batches, trunk, records, spec, views, *rest)
        fit(network, architecture, data, spec, recipe, outputs, INPUTS, may_collapse=True)


if __name__ == "__main__":
    run(main)
