"""Tests of transfer/report.py; the whole report is read in tests/stages."""

import pandas as pd

from transfer.report import without_error


def test_a_score_without_an_error_is_said_to_prove_little() -> None:
    assert without_error(pd.DataFrame({"accuracy": [0.9, 0.99]}), 100) == ""
    said = without_error(pd.DataFrame({"accuracy": [0.9, 1.0]}), 100)
    assert "100 test images are too few" in said
    assert "may be as low as 0.970 (" in said
