"""A grid of head settings as DVC experiments, beside the loop of TensorFlow's tutorial: python -m benchmarks.sweep

The grid runs as a user would run it, `dvc exp run --queue -S … train_head` and `dvc exp run --run-all`, in a clone that
shares this checkout's cache, and is measured whole: DVC, each process, each training, and the frozen pass that all of
them need once. (-f and -s are given besides, so that every setting is trained even where the cache has its result.)
The best setting is the one with the lowest validation loss; the test split is not opened.

Then the tutorial's loop, in which the frozen backbone runs in every step, over the same settings: see frozen_fit.py.
It would take hours, so that some of its steps are measured and the rest is estimated, which the results say; --full
runs all of it. `-S` replaces the grid.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.clones import ROOT, SCRATCH, clone_into, committed, environment, git
from benchmarks.grid_picture import Setting, draw
from transfer.core.errors import UserError, run
from transfer.core.files import read_json, write_json
from transfer.core.spec import Spec
from transfer.training.recipe import planned_epochs

RESULTS = ROOT / "benchmarks/results/sweep.json"
PICTURE = ROOT / "benchmarks/results/sweep.png"
GRID = ("head.dropout=0.0,0.3", "head.units=[],[128]", "head.lr=3e-4,1e-3,3e-3")
FIGURES = Path("metrics/train/head.json")
LISTINGS = 3  # tries of `dvc exp show`, which fails while a worker tidies up behind it


def dvc(clone: Path, *command: str, check: bool = True) -> float:
    """Run a DVC command in a clone, its output on standard error, and return its seconds.

    Raises:
        UserError: it failed, and `check` is given.
    """
    start = time.perf_counter()
    done = subprocess.run(["dvc", *command], cwd=clone, env=environment(), check=False, stdout=sys.stderr)
    if done.returncode and check:
        raise UserError(f"dvc {' '.join(command)}: it ended with status {done.returncode}; its output is above")
    return time.perf_counter() - start


def prepare(clone: Path) -> float:
    """Bring a clone to where a sweep begins, and return the seconds of the frozen pass, for both cuts, which runs anew.

    What comes before it (download, preprocess) is needed by the tutorial's loop as well, and is not counted.
    """
    clone_into(clone)
    dvc(clone, "repro", "embed")
    seconds = dvc(clone, "repro", "-s", "-f", "embed")
    git("commit", "-q", "-a", "--allow-empty", "-m", "before the sweep", folder=clone)
    return seconds


def keys_of(grid: Sequence[str]) -> list[str]:
    """Return the parameters that a grid names, `KEY=VALUE,VALUE`.

    Raises:
        UserError: there is no `=` in one.
    """
    for part in grid:
        if "=" not in part:
            raise UserError(f"-S: expected KEY=VALUE,VALUE…, received {part!r}")
    return [part.partition("=")[0] for part in grid]


def run_grid(clone: Path, grid: Sequence[str], jobs: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Queue, run and list the experiments of a grid. Return the seconds of each, and the list as `dvc exp show` has it.

    Raises:
        UserError: DVC cannot queue them, or list them.
    """
    overrides = [word for part in grid for word in ("-S", part)]
    seconds = {"queue": dvc(clone, "exp", "run", "--queue", *overrides, "-s", "-f", "train_head")}
    seconds["run"] = dvc(clone, "exp", "run", "--run-all", "-j", str(jobs), check=False)  # a setting may collapse
    start = time.perf_counter()
    shown = listing(clone)
    seconds["show"] = time.perf_counter() - start
    return seconds, shown


def listing(clone: Path) -> list[dict[str, Any]]:
    """Return the experiments of a clone, as `dvc exp show --json` lists them.

    Raises:
        UserError: it fails each time, or lists none.
    """
    for turn in range(LISTINGS):
        time.sleep(turn)
        show = ["dvc", "exp", "show", "--json"]
        done = subprocess.run(show, cwd=clone, env=environment(), check=False, capture_output=True, text=True)
        if done.returncode == 0:
            found = [listed for shown in json.loads(done.stdout) for listed in shown.get("experiments") or []]
            if not found:
                raise UserError("dvc exp show: expected the experiments of the grid, received none")
            return found
    raise UserError(f"dvc exp show: expected a list, received: {done.stderr.strip()}")


def value_at(params: dict[str, Any], key: str) -> Any:
    """Return the parameter of a dotted key."""
    value: Any = params
    for name in key.split("."):
        value = value[name]
    return value


def params_of(experiment: dict[str, Any]) -> dict[str, Any]:
    """Return the content of params.yaml of an experiment that `dvc exp show --json` lists."""
    params: dict[str, Any] = experiment["revs"][0]["data"]["params"]["params.yaml"]["data"]
    return params


def setting_of(experiment: dict[str, Any], keys: Sequence[str], clone: Path) -> Setting:
    """Return what a listed experiment set and came to.

    Of one that failed there are no figures: those that DVC lists beside it are of the commit that it started from.
    """
    changed = {key: value_at(params_of(experiment), key) for key in keys}
    if experiment["executor"]["state"] != "success":
        return Setting(changed, "failed", None, None, None)
    figures = json.loads(git("show", f"{experiment['revs'][0]['rev']}:{FIGURES.as_posix()}", folder=clone))
    validation = figures["validation"]
    status = figures["collapsed"] or "ok"
    return Setting(changed, status, figures["best_epoch"], validation["loss"], validation["accuracy"])


def rank(setting: Setting) -> float:
    """Order settings by their validation loss; what failed or collapsed comes last."""
    return math.inf if setting.status != "ok" or setting.loss is None else setting.loss


def tutorial_loop(clone: Path, experiments: list[dict[str, Any]], full: bool) -> dict[str, Any]:
    """Run the tutorial's loop over the settings of all experiments, in a process of its own; return what it took.

    Raises:
        UserError: it failed.
    """
    settings, result = clone / "settings.json", clone / "frozen_fit.json"
    settings.write_text(json.dumps([params_of(experiment) for experiment in experiments]), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.frozen_fit", str(settings), str(result)] + ["--full"] * full
    start = time.perf_counter()
    if subprocess.run(command, cwd=clone, env=environment(), check=False, stdout=sys.stderr).returncode:
        raise UserError("benchmarks.frozen_fit failed; its output is above")
    whole = time.perf_counter() - start
    loop = read_json(result)
    start_up = whole - loop.get("measured_seconds", loop["seconds_in_settings"])
    return {**loop, "start_up": round(start_up, 2), "seconds": round(start_up + loop["seconds_in_settings"], 1)}


def summary(
    grid: Sequence[str], spec: Spec, seconds: dict[str, float], settings: list[Setting], epochs: int
) -> dict[str, Any]:
    """Return what is written of the sweep itself: its settings, the best first, and its seconds."""
    return {
        "cores": os.cpu_count(),
        "image_size": spec.image_size,
        "images": {split: spec.counts[split] for split in ("train", "validation")},
        "epochs": epochs,
        "grid": list(grid),
        "settings": [vars(setting) for setting in sorted(settings, key=rank)],
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def compared(results: dict[str, Any], loop: dict[str, Any]) -> dict[str, Any]:
    """Add the tutorial's loop, and how many times faster the sweep is, with the frozen pass counted and without."""
    parts = results["seconds"]
    sweep = parts["queue"] + parts["run"] + parts["show"]
    ratios = {"with_embed": loop["seconds"] / (sweep + parts["embed"]), "without_embed": loop["seconds"] / sweep}
    return {**results, "tutorial": loop, "ratio": {name: round(value, 1) for name, value in ratios.items()}}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.sweep", description="A grid of head settings.")
    parser.add_argument("-S", action="append", dest="grid", metavar="KEY=VALUE,VALUE", help="in place of the grid")
    parser.add_argument("-j", "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="experiments at a time")
    parser.add_argument("--full", action="store_true", help="run all of the tutorial's loop, for hours")
    return parser.parse_args()


def main() -> None:
    """Run the grid and the tutorial's loop, write the results and the picture.

    Raises:
        UserError: a key that is wrong, or DVC or the loop failed.
    """
    given = _arguments()
    grid = given.grid or list(GRID)
    keys, commit = keys_of(grid), committed()
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        clone = Path(folder) / "clone"
        embed = prepare(clone)
        seconds, experiments = run_grid(clone, grid, given.jobs)
        settings = [setting_of(experiment, keys, clone) for experiment in experiments]
        spec = Spec.read(clone / "data/records/spec.json")
        epochs = planned_epochs(value_at(params_of(experiments[0]), "head.epochs"), "head", spec.counts["train"])
        results = summary(grid, spec, {"embed": embed, **seconds}, settings, epochs)
        loop = tutorial_loop(clone, experiments, given.full)
        results = {"commit": commit, "jobs": given.jobs, **compared(results, loop)}
    write_json(results, RESULTS)
    draw(sorted(settings, key=rank), PICTURE)
    print(yaml.safe_dump({name: results[name] for name in ("seconds", "tutorial", "ratio")}, sort_keys=False))


if __name__ == "__main__":
    run(main)
