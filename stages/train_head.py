"""Train dense layers on the features of the frozen backbone."""

from functools import partial

from transfer.core.cuts import Found, Named
from transfer.core.declared import reads, writes
from transfer.core.errors import run
from transfer.core.params import Params, read_params
from transfer.core.spec import Spec
from transfer.networks.model_files import ModelFiles
from transfer.networks.network import Architecture, build
from transfer.networks.seeds import fix_seeds
from transfer.training.batches import Batching, view_batches
from transfer.training.checkpoints import Checkpoint
from transfer.training.fit import Outputs, fit
from transfer.training.recipe import Job, Recipe, planned_epochs
from transfer.training.strategy import training_on

PARAMS = reads("params.yaml")
SPEC = reads("data/records/spec.json")
ACTIVATIONS = reads("data/activations/head")
BACKBONE = reads("models/backbone.json")
BACKBONE_WEIGHTS = reads("models/backbone.weights.h5")
INPUTS = (PARAMS, SPEC, ACTIVATIONS, BACKBONE, BACKBONE_WEIGHTS)
ARCHITECTURE = writes("models/head.json")
WEIGHTS = writes("models/head.weights.h5")
PREDICTED = writes("models/head.validation.npy")
CURVES = writes("plots/history/head")
METRICS = writes("metrics/train/head.json")
COST = writes("metrics/cost/train-head.json")


def architecture_of(params: Params, spec: Spec, backbone: Named) -> Architecture:
    """Describe the network that params.yaml asks for."""
    head = params.head
    return Architecture("transfer", spec.image_size, spec.classes, head.units, head.dropout, backbone, head.pooling)


def recipe_of(params: Params, images: int) -> Recipe:
    """Return how params.yaml has the head trained on so many images."""
    head = params.head
    return Recipe(
        epochs=planned_epochs(head.epochs, "head", images),
        lr=head.lr,
        weight_decay=head.weight_decay,
        label_smoothing=head.label_smoothing,
        class_weights=params.class_weights,
        time_budget_s=params.time_budget_s,
    )


def main() -> None:
    """Build the head, train it on cached activations, write it together with its backbone."""
    params = read_params(PARAMS)
    spec = Spec.read(SPEC)
    fix_seeds(params.seed)
    outputs = Outputs(ModelFiles(ARCHITECTURE, WEIGHTS, PREDICTED), METRICS, COST)
    with training_on(params.precision):
        network = build(architecture_of(params, spec, Found.read(BACKBONE).backbone))
        network.backbone.load_weights(BACKBONE_WEIGHTS)
        batching = Batching(params.labels, params.batch_size, params.seed)
        data = partial(view_batches, ACTIVATIONS, spec.classes, batching)
        recipe = recipe_of(params, spec.counts["train"])
        job = Job("head", network.top, spec, recipe, CURVES, checkpoint=Checkpoint("head", INPUTS))
        fit(job, network, data, outputs, may_collapse=params.weights == "none")


if __name__ == "__main__":
    run(main)
