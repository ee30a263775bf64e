"""Prove that the pipeline is reproducible, on a small real subset in a clone: PYTHONPATH=. python .ci/reproducible.py

`dvc repro` runs all stages, a second one none, and `dvc repro -f` leaves every hash in dvc.lock as it was; a change of
a parameter runs what depends on it and nothing else. What a run costs (metrics/cost), and what compare writes from it,
is measured and can never be the same twice.

`dvc repro -f` starts stages as users do; all else, to be quick, as tests/end_to_end/warm.py does. So they are compared.
"""

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import ROOT
from tests.end_to_end.clones import Clone
from tests.end_to_end.conftest import AFTER_LR, STAGES
from tests.end_to_end.warm import warm_stages
from transfer.export.formats import FORMATS

AT_ONCE = 2  # much of a stage's time is the start of a process, on one core

# Of a network with random weights, 8 bits may be too few.
OTHER_BACKBONE = ("backbone=mobilenetv2", "weights=none", "image_size=64", "export.formats=[openvino,onnx]")


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


def force(clone: Clone, stages: list[str]) -> None:
    """Run all again, and compare what comes out."""
    before = clone.hashes()
    expect("stages of a forced run", dvc(clone, "repro", "-f"), stages)
    after = clone.hashes()
    changed = [path for path in before if before[path] != after.get(path)]
    print(f"{len(before)} outputs compared, {len(changed)} changed by dvc repro -f", flush=True)
    expect("outputs changed by a forced run", changed, [])


def change(clone: Clone, settings: tuple[str, ...], stages: list[str]) -> None:
    """Run an experiment with other params, and look at what it ran."""
    ran = dvc(clone, "exp", "run", *(part for setting in settings for part in ("-S", setting)))
    expect(f"stages after a change of {', '.join(settings)}", ran, stages)


def main() -> None:
    """Clone, run; force, and change params, each in a copy; count the stages that run and compare what they write."""
    with tempfile.TemporaryDirectory() as temporary, warm_stages() as warm:
        clone = Clone(ROOT).clone(Path(temporary) / "clone")
        clone.make_small()
        clone.set_params(export={"formats": list(FORMATS)})
        (clone.folder / "dvc.lock").unlink(missing_ok=True)
        first = dvc(clone.having(warm), "repro")
        expect("stages of the first run", len(first), STAGES)
        expect("stages of the second run", dvc(clone, "repro"), [])
        clone.commit("small")
        changes = {
            OTHER_BACKBONE: sorted(set(first) - {"download"}),
            ("finetune.augment=on_the_fly", "export.formats=[openvino]"): sorted([*AFTER_LR, "embed"]),
        }
        copies = [clone.copy(Path(temporary) / f"copy-{number}") for number in range(1 + len(changes))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            checks = [pool.submit(force, copies[0], first)]
            for copy, (settings, stages) in zip(copies[1:], changes.items(), strict=True):
                checks.append(pool.submit(change, copy.having(warm), settings, stages))
            for check in checks:
                check.result()
    print("reproducible")


if __name__ == "__main__":
    main()
