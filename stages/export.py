"""Export the winner to formats that other programs run, and check each against Keras."""

import shutil

from transfer.core.cards import Card
from transfer.core.cost import measured
from transfer.core.declared import reads, writes
from transfer.core.errors import run
from transfer.core.files import read_json, write_json, write_text
from transfer.core.params import read_params
from transfer.core.spec import Spec
from transfer.core.strict import load_yaml, validate
from transfer.export.calibrated import Calibrated
from transfer.export.cost import measure
from transfer.export.formats import FORMATS
from transfer.export.model_card import CardFigures, base_model, model_card
from transfer.export.parity import reference
from transfer.export.table import export_report
from transfer.export.write import export, make_contract
from transfer.networks.model_files import load
from transfer.networks.seeds import fix_seeds
from transfer.records.views import count_views

PARAMS = reads("params.yaml")
CARD = reads("data/raw/card.yaml")
SPEC = reads("data/records/spec.json")
VALIDATION = reads("data/records/validation")
COMPARED = reads("metrics/compare.json")
EVALUATED = reads("metrics/evaluate")
DATA = reads("metrics/data.json")
ANN = reads("models/ann.json")
ANN_WEIGHTS = reads("models/ann.weights.h5")
CNN = reads("models/cnn.json")
CNN_WEIGHTS = reads("models/cnn.weights.h5")
HEAD = reads("models/head.json")
HEAD_WEIGHTS = reads("models/head.weights.h5")
FINETUNED = reads("models/finetuned.json")
FINETUNED_WEIGHTS = reads("models/finetuned.weights.h5")
EXPORT = writes("models/export")
FIGURES = writes("metrics/export.json")
COST = writes("metrics/export-cost.json")  # compare reads all of metrics/cost, and would have to wait for this
TABLE = writes("metrics/EXPORT.md")

MODELS = {
    "ann": (ANN, ANN_WEIGHTS),
    "cnn": (CNN, CNN_WEIGHTS),
    "head": (HEAD, HEAD_WEIGHTS),
    "finetuned": (FINETUNED, FINETUNED_WEIGHTS),
}


def main() -> None:
    """Load the winner, write it, compare, measure."""
    params, spec, card = read_params(PARAMS), Spec.read(SPEC), validate(Card, load_yaml(CARD), CARD)
    compare = read_json(COMPARED)
    winner = compare["winner"]
    views = count_views(params.evaluate.views, spec.symmetry, "evaluate.views")
    scores = read_json(EVALUATED / f"{winner}.json")
    contract = make_contract(winner, card, spec, views, scores)
    shutil.rmtree(EXPORT, ignore_errors=True)
    fix_seeds(0)
    with measured(COST) as cost:
        network = load(*MODELS[winner])
        expected = reference(network.whole, contract, VALIDATION, spec)
        done = export(Calibrated(network.whole, contract), params.export.formats, expected, EXPORT)
        cost |= {name: measure(EXPORT, name) for name in done.written}
    figures = {"model": winner, "images": spec.counts["validation"], "formats": done.written}
    if done.not_written:
        figures["not_written"] = done.not_written
    write_json(figures, FIGURES)
    write_text(export_report(contract, figures, cost), TABLE)
    base = base_model(params.backbone, params.weights) if network.architecture.backbone else None
    evidence = CardFigures(compare, scores, read_json(DATA), base)
    places = {name: FORMATS[name].place for name in done.written}
    write_text(model_card(contract, card, spec, evidence, places), EXPORT / "README.md")
    print(f"read   {MODELS[winner][1]}, the winner on the validation split: {winner}")
    print(f"wrote  {EXPORT}: {', '.join(done.written)}; {FIGURES}, {TABLE}")
    done.require_any()


if __name__ == "__main__":
    run(main)
