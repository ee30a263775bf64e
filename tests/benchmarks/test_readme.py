"""README.md says what the files say."""

import re

from benchmarks.readme import BLOCKS, accelerator_markdown, gpu_tries_markdown, render
from tests.declared import ROOT


def test_the_figures_in_readme_are_those_of_the_files() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- ([a-z-]+) -->\n", text)) - {"end"} == set(BLOCKS)
    assert render(text, ROOT) == text


def test_a_figure_that_differs_is_found() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    changed = re.sub(r"\*\*0\.\d+\*\*", "**0.999**", text, count=1)
    assert changed != text
    assert render(changed, ROOT) == text


def test_a_cut_that_was_not_trained_on_a_device_is_not_measured() -> None:
    rates = {"top": {"images_per_second": 9000.4}, "block5": {"images_per_second": 1000.0, "first_epoch_s": 16.4}}
    table = accelerator_markdown({"H200, jax": {"training": rates, "frozen_pass_images_per_second": 3000.0}})
    assert table.splitlines()[2] == "| H200, jax | 3,000 | 9,000 | 1,000 | not measured | 16 s |"


def test_tries_have_both_ways_to_predict_and_say_what_the_labels_bear() -> None:
    one = {"accuracy": 0.9, "f1": 0.8, "auc": 0.93, "log_loss": 0.3}
    results = {
        "images": 100,
        "certain": {"accuracy": [0.92, 0.94]},
        "uncertain": {"images": 15, "accuracy": [0.7, 0.75]},
        "tries": {"a": {"title": "lower", "one_view": one, "all_views": {**one, "auc": 0.94}}},
    }
    table, said = gpu_tries_markdown(results).split("\n\n")
    assert table.splitlines()[2] == "| lower | 0.900 / 0.900 | 0.800 / 0.800 | 0.930 / 0.940 | 0.300 / 0.300 |"
    assert said.startswith("Of the 100 images, 15 have a defect probability of 1/3 or 2/3.")
    assert said.endswith("are right in 70.0% to 75.0% of these, and in 92.0% to 94.0% of the others.")
