"""Tests of benchmarks/beam.py: what is estimated from rates."""

import pytest

from benchmarks.beam import estimate
from benchmarks.readme import beam_markdown

ROW = {"images": 1000, "seconds": 12.0, "start_s": 1.0, "alone_s": 1.0, "bytes": 50_000_000, "rate": 100.0}
STAGE = {"rows": {"local": ROW, "one worker": {**ROW, "rate": 200.0}}, "same_bytes": True}
MEMORY = {"10000": {"peak_memory_bytes": 10_000_000}, "100000": {"peak_memory_bytes": 100_000_000}, "ratio": 10.0}


def test_an_estimate_follows_from_the_rates() -> None:
    stages = {"preprocess": STAGE, "embed": STAGE}
    duplicates = {str(count): 1e-6 * count + 1e-12 * count**2 for count in (100_000, 400_000)}
    estimated = estimate(stages, duplicates, MEMORY)
    assert estimated["preprocess_h"] == pytest.approx(1e8 / 100 / 200 / 3600)
    assert estimated["embed_h"] == pytest.approx(8 * estimated["preprocess_h"])
    assert estimated["duplicates_h"] == pytest.approx((100 + 10_000) / 3600)
    assert estimated["driver_bytes"] == pytest.approx(1e11)
    assert estimated["raw_bytes"] == pytest.approx(5e12)
    assert estimated["record_bytes"] == pytest.approx(1e8 * 224 * 224 * 3)
    assert estimated["activation_bytes"] == pytest.approx(4e13)


def test_the_table_says_what_was_measured_and_whether_bytes_were_the_same() -> None:
    stages = {"preprocess": STAGE, "embed": STAGE}
    results = {"cores": 2, **stages}
    said = beam_markdown(results)
    assert "| embed: views of solar cells | one worker | 12.0 | 1.0 | 200 |" in said
    assert "All wrote the same bytes." in said
    assert "did **not**" in beam_markdown({**results, "embed": {**STAGE, "same_bytes": False}})
