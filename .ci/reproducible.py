"""Prove that the pipeline is reproducible, on a small real subset in a clone: python .ci/reproducible.py

`dvc repro` runs all stages, a second one none, and `dvc repro -f` leaves every hash in dvc.lock as it was. What a run
costs (metrics/cost), and what compare writes from it, is measured and can never be the same twice.
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
MEASURED = ("metrics/cost", "metrics/REPORT.md", "plots/performance_table.csv")


def repro(folder: Path, *options: str) -> list[str]:
    """Run `dvc repro` and return the names of the stages that ran."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    start = time.monotonic()
    result = subprocess.run(
        ["dvc", "repro", *options],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(f"dvc repro {' '.join(options)} failed:\n{result.stdout[-5000:]}\n{result.stderr[-5000:]}")
    ran = re.findall(r"^Running stage '(.+)':$", result.stdout, re.MULTILINE)
    print(f"dvc repro {' '.join(options)}: {len(ran)} stages in {time.monotonic() - start:.0f} s", flush=True)
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


def main() -> None:
    """Clone, run three times, compare."""
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        shutil.copyfile(ROOT / ".ci/params.yaml", clone / "params.yaml")
        (clone / "dvc.lock").unlink(missing_ok=True)
        first = repro(clone)
        stages = hashes(clone)
        second = repro(clone)
        forced = repro(clone, "-f")
        after = hashes(clone)
    changed = [path for path in stages if stages[path] != after.get(path)]
    print(f"{len(stages)} outputs compared, {len(changed)} changed by dvc repro -f {changed}")
    if not first or second or sorted(forced) != sorted(first) or changed:
        sys.exit(f"expected {first} to run, then none, then all with the same hashes; ran {second}, then {forced}")
    print("reproducible")


if __name__ == "__main__":
    main()
