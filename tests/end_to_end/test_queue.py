"""Experiments beside each other, in folders of their own."""

import json
import re
from pathlib import Path

from tests.end_to_end.clones import Clone, snapshot
from tests.end_to_end.conftest import AFTER_LR


def _values(clone: Clone) -> dict[str, tuple[float, float]]:
    """The learning rate and the fine-tuned network's validation loss of each experiment, by its name."""
    shown = json.loads(clone.dvc("exp", "show", "--json").output)
    found = {}
    for commit in shown:
        for experiment in commit.get("experiments") or []:
            for revision in experiment["revs"]:
                data = revision["data"]
                loss = data["metrics"]["metrics/train/finetuned.json"]["data"]["validation"]["loss"]
                found[experiment["name"]] = (float(data["params"]["params.yaml"]["data"]["lr"]), float(loss))
    return found


def test_experiments_in_folders_of_their_own_leave_everything_else_alone(
    original: Clone, warm: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    clone = original.copy(tmp_path / "clone")
    clone = clone.having({**warm, "HOME": str(home), "DVC_SITE_CACHE_DIR": str(tmp_path / "site")})
    before = _workspace(clone)
    clone.dvc("exp", "run", "--queue", "-n", "same", "-S", "finetune.patience=50")
    clone.dvc("exp", "run", "--queue", "-n", "other", "-S", "lr=1e-5")  # DVC writes 1e-05, a string to PyYAML
    ran = clone.dvc("exp", "run", "--run-all", "-j", "2")
    started = re.findall("Running stage '([^']+)':", ran.output)  # not always on a line of its own
    assert sorted(started) == sorted([*AFTER_LR, "finetune", "compare"])  # "same" trains, and changes nothing but costs
    assert _workspace(clone) == before
    assert clone.git("status", "--porcelain") == ""
    values = _values(clone)
    alone = json.loads((clone.folder / "metrics/train/finetuned.json").read_text(encoding="utf-8"))
    assert values["same"] == (5e-4, alone["validation"]["loss"])  # beside another training, and alone
    assert values["other"][0] == 1e-5
    assert values["other"] != values["same"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clone", "home", "site"]
    assert _of_ours(home) == []


def _workspace(clone: Clone) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file. DVC writes params.yaml when it queues, and writes it back."""
    files = snapshot(clone.folder)
    files["params.yaml"] = (files["params.yaml"][0], 0)
    return {path: value for path, value in files.items() if not path.startswith((".dvc/", ".git/"))}


def _of_ours(home: Path) -> list[str]:
    """What is in a home folder that no library put there."""
    libraries = (".cache/", ".config/", ".keras/", ".local/")
    return [path for path in snapshot(home) if not path.startswith(libraries) or "transfer" in path]
