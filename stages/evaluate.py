"""Evaluate a model on the test split, from the pixels: python -m stages.evaluate ann|cnn|head|finetuned."""

from transfer.core.cards import Card
from transfer.core.cost import measured
from transfer.core.declared import fill, reads, writes
from transfer.core.errors import argument, run
from transfer.core.files import write_csv, write_json, write_text
from transfer.core.params import read_params
from transfer.core.spec import Spec
from transfer.core.strict import load_yaml, validate
from transfer.evaluation.judge import Evaluator, averaged, check_cached_path, judge, worst_mistakes
from transfer.evaluation.pictures import draw_mistakes
from transfer.evaluation.scores import MOST_MISTAKES, classification_report, curves, predictions_table
from transfer.networks.seeds import fix_seeds
from transfer.records.views import count_views
from transfer.workers.runners import make_runner

PARAMS = reads("params.yaml")
CARD = reads("data/raw/card.yaml")
SPEC = reads("data/records/spec.json")
TRAIN = reads("data/records/train")
VALIDATION = reads("data/records/validation")
TEST = reads("data/records/test")
ARCHITECTURE = reads("models/{item}.json")
WEIGHTS = reads("models/{item}.weights.h5")
CACHED = reads("models/{item}.validation.npy")
METRICS = writes("metrics/evaluate/{item}.json")
REPORT = writes("metrics/evaluate/{item}.txt")
PREDICTIONS = writes("plots/predictions/{item}.csv")
ROC = writes("plots/roc/{item}.csv")
PRECISION_RECALL = writes("plots/precision_recall/{item}.csv")
RELIABILITY = writes("plots/reliability/{item}.csv")
MISTAKES = writes("plots/mistakes/{item}.png")
COST = writes("metrics/cost/evaluate-{item}.json")


def main() -> None:
    """Predict all splits, score, draw, measure."""
    item = argument("ann", "cnn", "head", "finetuned")
    params, spec, card = read_params(PARAMS), Spec.read(SPEC), validate(Card, load_yaml(CARD), CARD)
    views = count_views(params.evaluate.views, spec.symmetry, "evaluate.views")
    fix_seeds(0)
    with measured(fill(COST, item)) as cost, make_runner(params.runner, params.dask) as runner:
        model = Evaluator(fill(ARCHITECTURE, item), fill(WEIGHTS, item), params.engine)
        by_view = [model.predict(runner, records, spec, views) for records in (TRAIN, VALIDATION, TEST)]
        difference = check_cached_path(by_view[1][0], fill(CACHED, item))
        cost["prediction"] = model.prediction_cost(views)
    train, validation, test = (averaged(predictions) for predictions in by_view)
    scores, reliability = judge(train, validation, test, spec, card)
    write_json(scores, fill(METRICS, item))
    write_csv(reliability, fill(RELIABILITY, item), missing="nan")
    report = classification_report(test, spec.classes)
    write_text(report, fill(REPORT, item))
    write_csv(predictions_table(test, spec.classes), fill(PREDICTIONS, item))
    for table, path in zip(curves(test, spec.classes, spec.positive_class), (ROC, PRECISION_RECALL), strict=True):
        write_csv(table, fill(path, item))
    mistakes = worst_mistakes(test, TEST, spec, MOST_MISTAKES, model.classify)
    draw_mistakes(mistakes, f"{item}: the worst mistakes", fill(MISTAKES, item))
    print(f"read   {fill(WEIGHTS, item)}, {sum(spec.counts.values())} images, {views} views, engine {model.engine}")
    print(f"       whole network and training path differ by at most {difference:.4f} in a probability")
    print(f"wrote  {fill(METRICS, item)}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    print(report)


if __name__ == "__main__":
    run(main)
