"""The pipeline with several seeds, that is splits and initial weights: python -m benchmarks.seeds 1 2 3

Each seed runs in a clone that shares this checkout's cache, so that what was computed before is not computed again.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.clones import ROOT, SCRATCH, clone_into
from transfer.comparison import MODELS
from transfer.cost import write_json

RESULTS = ROOT / "benchmarks/results/seeds.json"
SCORES = ("accuracy", "weighted", "f1", "auc", "val_accuracy")


def run_seed(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Run the pipeline with one seed, and return the scores of each model."""
    clone = folder / f"seed-{seed}"
    clone_into(clone)
    params = clone / "params.yaml"
    text, changes = re.subn(r"(?m)^seed: \d+", f"seed: {seed}", params.read_text(encoding="utf-8"))
    assert changes == 1
    params.write_text(text, encoding="utf-8")
    subprocess.run(["dvc", "repro"], cwd=clone, check=True, stdout=sys.stderr)
    scores = {}
    for model in MODELS:
        values = json.loads((clone / f"metrics/evaluate/{model}.json").read_text(encoding="utf-8"))
        scores[model] = {name: values[name] for name in SCORES}
    return scores


def main() -> None:
    """Run all seeds and write their scores, means and standard deviations."""
    seeds = [int(argument) for argument in sys.argv[1:]]
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        scores = {seed: run_seed(seed, Path(folder)) for seed in seeds}
    summary = {
        model: {
            name: {
                "mean": round(statistics.mean(scores[seed][model][name] for seed in seeds), 4),
                "sd": round(statistics.stdev(scores[seed][model][name] for seed in seeds), 4),
            }
            for name in SCORES
        }
        for model in MODELS
    }
    write_json({"seeds": seeds, "summary": summary, "scores": scores}, RESULTS)
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
