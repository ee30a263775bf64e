"""What each way of fine-tuning costs and gives, on the default dataset: python -m benchmarks.augment [WAY=EPOCHS …]

The ways are cached, none, on_the_fly (all three at the backbone's default cut) and input (on the fly, with nothing
frozen). Each trains for the epochs of params.yaml, or for those given: `on_the_fly=6 input=3` on a machine where the
trunk takes minutes an epoch. The result says how many there were. They run one after the other, in a clone that shares
this checkout's cache; embed (for the head as well), training and evaluation run anew, so that all seconds are of the
same machine.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.clones import ROOT, SCRATCH, clone_into
from transfer.core.files import read_json, write_json

RESULTS = ROOT / "benchmarks/results/augment.json"
WAYS = {
    "cached": {"augment": "cached", "cut": "auto"},
    "none": {"augment": "none", "cut": "auto"},
    "on_the_fly": {"augment": "on_the_fly", "cut": "auto"},
    "input": {"augment": "on_the_fly", "cut": "input"},
}
MEASURED_ANEW = ("embed", "finetune", "evaluate@finetuned")


def set_way(clone: Path, way: str, epochs: int | None) -> dict[str, Any]:
    """Write a way into the clone's params.yaml, and return the section finetune."""
    path = clone / "params.yaml"
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    finetune: dict[str, Any] = params["finetune"]
    finetune |= WAYS[way]
    if epochs is not None:
        finetune["epochs"] = epochs
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    return finetune


def run_way(clone: Path, way: str, epochs: int | None) -> dict[str, object]:
    """Fine-tune in one way, and return what it cost and gave."""
    finetune = set_way(clone, way, epochs)
    for stage in MEASURED_ANEW:
        subprocess.run(["dvc", "repro", "-s", "-f", stage], cwd=clone, check=True, stdout=sys.stderr)
    cost = read_json(clone / "metrics/cost/train-finetuned.json")
    trained = read_json(clone / "metrics/train/finetuned.json")
    scores = read_json(clone / "metrics/evaluate/finetuned.json")
    stored = [file for file in (clone / "data/activations/finetune").rglob("*") if file.is_file()]
    return {
        **WAYS[way],
        "epochs": trained["epochs"],  # params.yaml may say auto
        "augmentation": finetune["augmentation"] if finetune["augment"] == "on_the_fly" else None,
        "best_epoch": trained["best_epoch"],
        "seconds_per_epoch": cost["seconds_per_epoch"],
        "training_seconds": cost["seconds"],
        "embed_seconds": read_json(clone / "metrics/cost/embed.json")["seconds"],
        "cached_bytes": sum(file.stat().st_size for file in stored),
        "val_accuracy": scores["val_accuracy"],
        "accuracy": scores["accuracy"],
    }


def main() -> None:
    """Run all ways and write what they cost and gave."""
    epochs = {way: int(count) for way, count in (argument.split("=") for argument in sys.argv[1:])}
    if unknown := set(epochs) - set(WAYS):
        sys.exit(f"expected {', '.join(WAYS)}, received {', '.join(sorted(unknown))}")
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        clone = Path(folder) / "clone"
        clone_into(clone)
        subprocess.run(["dvc", "repro", "train_head"], cwd=clone, check=True, stdout=sys.stderr)
        ways = {way: run_way(clone, way, epochs.get(way)) for way in WAYS}
    write_json(ways, RESULTS)
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
