"""Train the blocks above the cut, starting from the trained head."""

from functools import partial

from transfer.activations import make_plan
from transfer.declared import reads, writes
from transfer.determinism import fix_seeds
from transfer.devices import training_on
from transfer.errors import run
from transfer.fitting import Outputs, fit
from transfer.model_files import ModelFiles, load
from transfer.network import from_pixels
from transfer.params import Params, read_params
from transfer.recipe import Recipe
from transfer.record_batches import training_data
from transfer.spec import Spec

PARAMS = reads("params.yaml")
SPEC = reads("data/records/spec.json")
TRAIN = reads("data/records/train")
VALIDATION = reads("data/records/validation")
ACTIVATIONS = reads("data/activations/finetune")
HEAD_ARCHITECTURE = reads("models/head.json")
HEAD_WEIGHTS = reads("models/head.weights.h5")
INPUTS = (PARAMS, SPEC, TRAIN, VALIDATION, ACTIVATIONS, HEAD_ARCHITECTURE, HEAD_WEIGHTS)
ARCHITECTURE = writes("models/finetuned.json")
WEIGHTS = writes("models/finetuned.weights.h5")
PREDICTED = writes("models/finetuned.validation.npy")
CURVES = writes("plots/history/finetuned")
METRICS = writes("metrics/train/finetuned.json")
COST = writes("metrics/cost/train-finetuned.json")


def recipe_of(params: Params) -> Recipe:
    """Return how params.yaml has the upper blocks trained."""
    finetune = params.finetune
    return Recipe(
        epochs=finetune.epochs,
        lr=params.lr,
        warmup_epochs=finetune.warmup_epochs,
        weight_decay=finetune.weight_decay,
        label_smoothing=finetune.label_smoothing,
        clip_norm=finetune.clip_norm,
        class_weights=params.class_weights,
        patience=finetune.patience,
        time_budget_s=params.time_budget_s,
        averaging=finetune.averaging,
    )


def main() -> None:
    """Load the model with the trained head, cut it lower, train what is above, write the whole."""
    params = read_params(PARAMS)
    finetune = params.finetune
    spec = Spec.read(SPEC)
    fix_seeds(params.seed)
    plan = make_plan(params.backbone, finetune.cut, finetune.augment, finetune.views, spec.symmetry, "finetune")
    outputs = Outputs(ModelFiles(ARCHITECTURE, WEIGHTS, PREDICTED), CURVES, METRICS, COST)
    print(f"train on {plan.describe()}")
    recipe, may_collapse = recipe_of(params), params.weights == "none"
    with training_on(params.precision):
        network, architecture = load(HEAD_ARCHITECTURE, HEAD_WEIGHTS, plan.cut)
        records, augmentation = (TRAIN, VALIDATION), finetune.augmentation
        rest = params.labels, params.batch_size, params.seed
        data = partial(training_data, plan, ACTIVATIONS, records, spec, augmentation, *rest)
        around = from_pixels(network) if plan.from_pixels else None
        fit(network, architecture, data, spec, recipe, outputs, INPUTS, may_collapse, around)


if __name__ == "__main__":
    run(main)
