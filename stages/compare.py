"""Set the models side by side: the Model Performance Table, intervals, tests, the report."""

import os

from transfer.cards import Card
from transfer.comparison import compare, figures, performance_table, read_results
from transfer.cost import read_json, write_json
from transfer.errors import run
from transfer.params import load_yaml, read_params, validate
from transfer.paths import fresh_file, reads, writes
from transfer.pictures import draw_performance
from transfer.report import report
from transfer.spec import Spec

PARAMS = reads("params.yaml")
CARD = reads("data/raw/card.yaml")
SPEC = reads("data/records/spec.json")
DATA = reads("metrics/data.json")
EVALUATED = reads("metrics/evaluate")
TRAINED = reads("metrics/train")
PREDICTED = reads("plots/predictions")
COST = reads("metrics/cost")
FIGURES = writes("metrics/compare.json")
TABLE = writes("plots/performance_table.csv")
PICTURE = writes("plots/performance.png")
REPORT = writes("metrics/REPORT.md")


def main() -> None:
    """Read what all models have reached and cost, and write it down."""
    params = read_params(PARAMS)
    spec = Spec.read(SPEC)
    card = validate(Card, load_yaml(CARD), CARD)
    results = read_results(EVALUATED, TRAINED, PREDICTED, COST)
    table = performance_table(results, spec, spec.positive_class, params.resamples, params.seed)
    comparisons = compare(results)
    write_json(figures(results, table, comparisons), fresh_file(FIGURES))
    table.to_csv(fresh_file(TABLE), index=False)
    draw_performance(table, fresh_file(PICTURE))
    picture = os.path.relpath(PICTURE, REPORT.parent)
    text = report(card, spec, read_json(DATA), results, table, comparisons, picture)
    fresh_file(REPORT).write_text(text, encoding="utf-8")
    print(f"read   {EVALUATED}, {TRAINED}, {PREDICTED}, {COST}")
    print(f"wrote  {REPORT}, {TABLE}, {PICTURE}, {FIGURES}")
    print(table[["model", "training_s", "val_accuracy", "accuracy", "accuracy_low", "accuracy_high", "f1"]].to_string())


if __name__ == "__main__":
    run(main)
