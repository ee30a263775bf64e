"""Tests of benchmarks/dask.py: what is said of its results."""

from benchmarks.readme import dask_markdown

ROWS = {
    "local": {"images": 1000, "seconds": 10.0, "start_s": 0.0, "rate": 100.0},
    "one worker": {"images": 1000, "seconds": 14.5, "start_s": 4.0, "rate": 95.0},
}
STAGE = {"rows": ROWS, "same_bytes": True}


def test_the_table_has_start_up_and_the_rate_against_local() -> None:
    said = dask_markdown({"cores": 2, "preprocess": STAGE, "embed": STAGE, "overhead_s": 0.0021})
    assert "| embed: views of solar cells | one worker | 14.5 | 4.0 | 95 | 0.95 |" in said
    assert "All wrote the same bytes. A task that does nothing takes 2.1 ms." in said
    other = {"rows": ROWS, "same_bytes": False}
    assert "did **not**" in dask_markdown({"cores": 2, "preprocess": STAGE, "embed": other, "overhead_s": 0.1})
