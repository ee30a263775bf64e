"""Train the blocks above the cut, starting from the trained head."""

from functools import partial

from transfer.core.declared import reads, writes
from transfer.core.errors import run
from transfer.core.params import Params, read_params
from transfer.core.spec import Spec
from transfer.networks.lora import add_updates
from transfer.networks.model_files import ModelFiles, load
from transfer.networks.network import Architecture, from_pixels
from transfer.networks.seeds import fix_seeds
from transfer.records.activations import make_plan
from transfer.records.views import count_views
from transfer.training.batches import Batching
from transfer.training.checkpoints import Checkpoint
from transfer.training.fit import Outputs, fit
from transfer.training.recipe import Job, Recipe, planned_epochs
from transfer.training.record_batches import training_data
from transfer.training.strategy import training_on

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


def recipe_of(params: Params, images: int) -> Recipe:
    """Return how params.yaml has the upper blocks trained on so many images."""
    finetune = params.finetune
    return Recipe(
        epochs=planned_epochs(finetune.epochs, "finetuned", images),
        lr=params.lr,
        warmup=finetune.warmup,
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
    views = count_views(finetune.views, spec.symmetry, "finetune.views")
    backbone = Architecture.read(HEAD_ARCHITECTURE).backbone
    plan = make_plan(backbone, finetune.cut, finetune.augment, views)
    outputs = Outputs(ModelFiles(ARCHITECTURE, WEIGHTS, PREDICTED), METRICS, COST)
    print(f"train on {plan.describe()}")
    with training_on(params.precision):
        network = load(HEAD_ARCHITECTURE, HEAD_WEIGHTS, plan.cut)
        if finetune.method == "lora":
            add_updates(network)
        batching = Batching(params.labels, params.batch_size, params.seed, finetune.augmentation)
        data = partial(training_data, plan, ACTIVATIONS, (TRAIN, VALIDATION), spec, batching)
        around = from_pixels(network) if plan.from_pixels else None
        recipe = recipe_of(params, spec.counts["train"])
        job = Job("finetuned", network.top, spec, recipe, CURVES, around, Checkpoint("finetuned", INPUTS))
        fit(job, network, data, outputs, may_collapse=params.weights == "none")


if __name__ == "__main__":
    run(main)
