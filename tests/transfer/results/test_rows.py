"""Tests of transfer/results/rows.py."""

from pathlib import Path

import pandas as pd

from tests.transfer.results.test_performance import make_results, make_spec
from transfer.results.performance import MODELS, Results
from transfer.results.rows import pairs, remarks, scores

TABLE = pd.DataFrame([{"model": model, "auc": 0.9, "auc_low": 0.85, "auc_high": None} for model in MODELS])


def _results(tmp_path: Path) -> Results:
    return make_results(make_spec(("7", "NA"), "NA", 60), tmp_path)


def test_scores_are_named_as_the_reader_wants_and_those_that_there_are_not_left_out(tmp_path: Path) -> None:
    results = _results(tmp_path)
    header, rows = scores(results, TABLE.assign(auc_high=0.95), str.upper, ("f1", "weighted_alternative", "accuracy"))
    assert header == ["model", "F1", "accuracy", "ROC AUC (95 %)"]
    found = results.scores["ann"]
    assert rows[0] == ["ANN", f"{found['f1']:.3f}", f"{found['accuracy']:.3f}", "0.900 (0.850 to 0.950)"]
    assert [row[0] for row in rows] == [model.upper() for model in MODELS]


def test_pairs_have_areas_where_these_are_compared() -> None:
    pair = {"first": "ann", "second": "cnn", "difference": 0.05, "low": -0.01, "high": 0.11}
    pair |= {"only_first": 3, "only_second": 8, "p_holm": 0.04}
    header, rows = pairs([pair], [], str.upper)
    assert len(header) == 4
    assert rows == [["CNN − ANN", "+5.0 (-1.0 to +11.0)", "8 / 3", "0.04"]]
    area = {**pair, "difference": 0.2, "low": 0.1, "high": 0.3, "p_holm": 1e-5}
    header, rows = pairs([pair], [area], str.upper)
    assert header[4:] == ["ROC AUC (95 %)", "p (DeLong, Holm)"]
    assert rows[0][4:] == ["+0.200 (+0.100 to +0.300)", "1e-05"]


def test_what_went_wrong_in_training_is_remarked() -> None:
    fine: dict[str, object] = {"collapsed": None, "stopped": None, "one_class_epochs": []}
    assert remarks(fine) == "none"
    found = remarks({"collapsed": "x", "stopped": "time_budget_s: y", "one_class_epochs": [1, 4]})
    assert found == "collapsed: x; stopped: time_budget_s: y; one class predicted in epochs [1, 4]"
