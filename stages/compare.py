"""Compare the models: the Model Performance Table, intervals, tests, the report."""

import os

import pandas as pd

from transfer.core.cards import Card
from transfer.core.declared import reads, writes
from transfer.core.errors import run
from transfer.core.files import read_json, write_csv, write_json, write_text
from transfer.core.params import read_params
from transfer.core.spec import Spec
from transfer.core.strict import load_yaml, validate
from transfer.results.performance import figures, find, read_reliability, read_results
from transfer.results.pictures import draw_performance, draw_reliability
from transfer.results.report import Evidence, Settings, report
from transfer.results.subgroups import read_strata
from transfer.results.tables import largest_class

PARAMS = reads("params.yaml")
CARD = reads("data/raw/card.yaml")
SPEC = reads("data/records/spec.json")
SPLITS = reads("data/splits.csv")
QUARANTINE = reads("data/quarantine.csv")
DATA = reads("metrics/data.json")
EVALUATED = reads("metrics/evaluate")
TRAINED = reads("metrics/train")
PREDICTED = reads("plots/predictions")
RELIABILITY = reads("plots/reliability")
MISTAKES = reads("plots/mistakes")
COST = reads("metrics/cost")
FIGURES = writes("metrics/compare.json")
TABLE = writes("plots/performance_table.csv")
PICTURE = writes("plots/performance.png")
DIAGRAMS = writes("plots/reliability.png")
REPORT = writes("metrics/REPORT.md")


def main() -> None:
    """Read the scores and costs of all models, and write tables, charts and the report."""
    params = read_params(PARAMS)
    spec, card = Spec.read(SPEC), validate(Card, load_yaml(CARD), CARD)
    results = read_results(EVALUATED, TRAINED, PREDICTED, COST)
    strata = read_strata(SPLITS, card.table.stratify if card.table is not None else (), results.images)
    findings = find(results, strata, spec, params.resamples, params.seed)
    write_json(figures(results, findings), FIGURES)
    write_csv(findings.table, TABLE)
    draw_performance(findings.table, largest_class(results)[1], PICTURE)
    draw_reliability(read_reliability(RELIABILITY), DIAGRAMS)
    settings = Settings(
        params.backbone,
        params.weights != "none",
        params.finetune.cut,
        params.finetune.augment,
        params.lr,
        params.class_weights,
    )
    quarantine = pd.read_csv(QUARANTINE, dtype=str, keep_default_na=False, lineterminator="\n")
    evidence = Evidence(settings, card, spec, read_json(DATA), quarantine, results, findings)
    shown = (PICTURE, DIAGRAMS, MISTAKES / f"{evidence.ranked[0]}.png")
    pictures = (os.path.relpath(picture, REPORT.parent) for picture in shown)
    write_text(report(evidence, *pictures), REPORT)
    print(f"read   {EVALUATED}, {TRAINED}, {PREDICTED}, {RELIABILITY}, {COST}")
    print(f"wrote  {REPORT}, {TABLE}, {PICTURE}, {DIAGRAMS}, {FIGURES}")
    columns = ["model", "training_s", "val_accuracy", "accuracy", "accuracy_low", "accuracy_high", "f1", "auc"]
    print(findings.table[columns].to_string())


if __name__ == "__main__":
    run(main)
