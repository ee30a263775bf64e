"""Prove that the pipeline is reproducible, on a small real subset in a clone: PYTHONPATH=. python .ci/reproducible.py

`dvc repro` runs all stages, a second one none, and `dvc repro -f` leaves every hash in dvc.lock as it was; a change of
a parameter runs what depends on it and nothing else. What a run costs (metrics/cost), and what compare writes from it,
is measured and can never be the same twice.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT
from tests.end_to_end.clones import Clone


def dvc(clone: Clone, *command: str) -> list[str]:
    """Run a dvc command and return the names of the stages that ran."""
    start = time.monotonic()
    ran = clone.dvc(*command)
    print(f"dvc {' '.join(command)}: {len(ran.stages)} stages in {time.monotonic() - start:.0f} s", flush=True)
    return ran.stages


def expect(what: str, received: object, expected: object) -> None:
    """Stop with both, where they differ."""
    if received != expected:
        sys.exit(f"{what}: expected {expected}, received {received}")


def main() -> None:
    """Clone, run, change parameters, force; count the stages that run and compare what they write."""
    with tempfile.TemporaryDirectory() as temporary:
        clone = Clone(ROOT).clone(Path(temporary) / "clone")
        shutil.copyfile(ROOT / ".ci/params.yaml", clone.folder / "params.yaml")
        (clone.folder / "dvc.lock").unlink(missing_ok=True)
        first = dvc(clone, "repro")
        expect("stages of the first run", len(first), 15)
        before = clone.hashes()
        expect("stages of the second run", dvc(clone, "repro"), [])
        expect("stages of a forced run", dvc(clone, "repro", "-f"), first)
        after = clone.hashes()
        changed = [path for path in before if before[path] != after.get(path)]
        print(f"{len(before)} outputs compared, {len(changed)} changed by dvc repro -f", flush=True)
        expect("outputs changed by a forced run", changed, [])
        clone.commit("small")
        ran = dvc(clone, "exp", "run", "-S", "lr=1e-5")  # DVC writes 1e-05, a string to PyYAML
        expect("stages after a change of lr", ran, ["compare", "evaluate@finetuned", "export", "finetune"])
        ran = dvc(clone, "exp", "run", "-S", "finetune.augment=on_the_fly")
        augmented = ["compare", "embed@finetune", "evaluate@finetuned", "export", "finetune"]
        expect("stages after a change of augmentation", ran, augmented)
        # Of a network with random weights, 8 bits may be too few.
        other = ("backbone=mobilenetv2", "weights=none", "image_size=64", "export.formats=[openvino,onnx]")
        ran = dvc(clone, "exp", "run", *(part for change in other for part in ("-S", change)))
        expect("stages after a change of the backbone", ran, sorted(set(first) - {"download"}))
    print("reproducible")


if __name__ == "__main__":
    main()
