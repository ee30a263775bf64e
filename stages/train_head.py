"""Train fully connected layers on what the frozen backbone gives."""

from functools import partial

from transfer.cached_batches import view_batches
from transfer.declared import reads, writes
from transfer.determinism import fix_seeds
from transfer.devices import training_on
from transfer.errors import run
from transfer.fitting import Outputs, fit
from transfer.model_files import ModelFiles
from transfer.network import Architecture, build
from transfer.params import Params, read_params
from transfer.recipe import Recipe
from transfer.spec import Spec

PARAMS = reads("params.yaml")
SPEC = reads("data/records/spec.json")
ACTIVATIONS = reads("data/activations/head")
BACKBONE = reads("models/backbone.weights.h5")
INPUTS = (PARAMS, SPEC, ACTIVATIONS, BACKBONE)
ARCHITECTURE = writes("models/head.json")
WEIGHTS = writes("models/head.weights.h5")
PREDICTED = writes("models/head.validation.npy")
CURVES = writes("plots/history/head")
METRICS = writes("metrics/train/head.json")
COST = writes("metrics/cost/train-head.json")


def architecture_of(params: Params, spec: Spec) -> Architecture:
    """Describe the network that params.yaml asks for."""
    head = params.head
    return Architecture(
        "transfer", spec.image_size, spec.classes, head.units, head.dropout, params.backbone, head.pooling
    )


def recipe_of(params: Params) -> Recipe:
    """Return how params.yaml has the head trained."""
    head = params.head
    return Recipe(
        epochs=head.epochs,
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
    architecture = architecture_of(params, spec)
    outputs = Outputs(ModelFiles(ARCHITECTURE, WEIGHTS, PREDICTED), CURVES, METRICS, COST)
    with training_on(params.precision):
        network = build(architecture)
        network.backbone.load_weights(BACKBONE)
        data = partial(view_batches, ACTIVATIONS, spec.classes, params.labels, params.batch_size, params.seed)
        fit(network, architecture, data, spec, recipe_of(params), outputs, INPUTS, params.weights == "none")


if __name__ == "__main__":
    run(main)
