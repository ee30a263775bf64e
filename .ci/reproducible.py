"""Prove that the pipeline is reproducible, on a small real subset in a clone: python .ci/reproducible.py

`dvc repro` runs all stages, a second one none, and `dvc repro -f` leaves every hash in dvc.lock as it was; a change of
a parameter runs what depends on it and nothing else. What a run costs (metrics/cost), and what compare writes from it,
is measured and can never be the same twice.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
NOBODY = {"NAME": "nobody", "EMAIL": "nobody@example.com"}
IDENTITY = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in NOBODY.items()}
MEASURED = ("metrics/cost", "metrics/REPORT.md", "plots/performance_table.csv")


def dvc(folder: Path, *command: str) -> list[str]:
    """Run a dvc command and return the names of the stages that ran."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    start = time.monotonic()
    environment = {**os.environ, "PATH": path, **IDENTITY}
    result = subprocess.run(["dvc", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"dvc {' '.join(command)} failed:\n{result.stdout[-5000:]}\n{result.stderr[-5000:]}")
    ran = re.findall(r"^Running stage '(.+)':$", result.stdout, re.MULTILINE)
    print(f"dvc {' '.join(command)}: {len(ran)} stages in {time.monotonic() - start:.0f} s", flush=True)
    return ran


def hashes(folder: Path) -> dict[str, str]:
    """The hash of every output in dvc.lock, those of what is measured left out."""
    lock: dict[str, Any] = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    return {
        out["path"]: out["md5"]
        for stage in lock["stages"].values()
        for out in stage["outs"]
        if not out["path"].startswith(MEASURED)
    }


def expect(what: str, received: object, expected: object) -> None:
    """Stop with both, where they differ."""
    if received != expected:
        sys.exit(f"{what}: expected {expected}, received {received}")


def main() -> None:
    """Clone, run, change parameters, force; count the stages that run and compare what they write."""
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        shutil.copyfile(ROOT / ".ci/params.yaml", clone / "params.yaml")
        (clone / "dvc.lock").unlink(missing_ok=True)
        first = dvc(clone, "repro")
        expect("stages of the first run", len(first), 14)
        before = hashes(clone)
        expect("stages of the second run", dvc(clone, "repro"), [])
        expect("stages of a forced run", sorted(dvc(clone, "repro", "-f")), sorted(first))
        after = hashes(clone)
        changed = [path for path in before if before[path] != after.get(path)]
        print(f"{len(before)} outputs compared, {len(changed)} changed by dvc repro -f", flush=True)
        expect("outputs changed by a forced run", changed, [])
        subprocess.run(["git", "add", "-A"], cwd=clone, check=True)
        subprocess.run(["git", "commit", "-qm", "small"], cwd=clone, check=True, env={**os.environ, **IDENTITY})
        ran = dvc(clone, "exp", "run", "-S", "lr=1e-5")  # DVC writes 1e-05, a string to PyYAML
        expect("stages after a change of lr", sorted(ran), ["compare", "evaluate@finetuned", "finetune"])
        ran = dvc(clone, "exp", "run", "-S", "head.dropout=0.3")
        tuned = ["compare", "evaluate@finetuned", "evaluate@head", "finetune", "train_head"]
        expect("stages after a change of the head", sorted(ran), tuned)
        ran = dvc(clone, "exp", "run", "-S", "finetune.augment=on_the_fly")
        augmented = ["compare", "embed@finetune", "evaluate@finetuned", "finetune"]
        expect("stages after a change of augmentation", sorted(ran), augmented)
        ran = dvc(clone, "exp", "run", "-S", "backbone=vgg16", "-S", "weights=none", "-S", "image_size=64")
        expect("stages after a change of the backbone", sorted(ran), sorted(set(first) - {"download"}))
    print("reproducible")


if __name__ == "__main__":
    main()
