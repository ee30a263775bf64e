"""One grid of settings on two machines, with a git repository and a remote between them."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.end_to_end.clones import Clone, Ran
from tests.end_to_end.servers import Remote, folder_remote

Shown = dict[str, tuple[float, float]]


@pytest.fixture
def remote(original: Clone, tmp_path: Path) -> Iterator[Remote]:
    """A remote to which the results of `original` were pushed, and nothing of its run cache."""
    with folder_remote(tmp_path) as remote:
        source = original.copy(tmp_path / "source")
        remote.add_to(source)
        source.dvc("push")
        yield remote


@pytest.fixture
def machines(original: Clone, remote: Remote, warm: dict[str, str], tmp_path: Path) -> tuple[Clone, Clone]:
    """Two clones of one repository, each with a home of its own: one with all results, one with an empty cache."""
    hub = tmp_path / "hub.git"
    original.git("clone", "-q", "--bare", str(original.folder), str(hub))
    clones = []
    for name in ("first", "second"):
        home = tmp_path / f"home-{name}"
        home.mkdir()
        clone = Clone(hub, warm).clone(tmp_path / name, HOME=str(home), DVC_SITE_CACHE_DIR=str(home / "site"))
        remote.add_to(clone)
        clone.dvc("config", "--local", "exp.auto_push", "true")
        clones.append(clone)
    clones[0].dvc("pull")
    return clones[0], clones[1]


def _queue(machine: Clone, rates: str) -> None:
    """Queue an experiment for each of the rates, as docs/team-cache.md says."""
    few = ("-S", "head.epochs=2")
    machine.dvc("exp", "run", "--queue", "--pull", "--allow-missing", "-S", f"head.lr={rates}", *few, "train_head")


def _work(machine: Clone) -> Ran:
    """Let two workers empty the queue."""
    return machine.dvc("exp", "run", "--run-all", "-j", "2")


def _shown(machine: Clone) -> Shown:
    """The head's learning rate and its validation loss, of each experiment by its name."""
    found = {}
    for commit in json.loads(machine.dvc("exp", "show", "--json").output):
        for experiment in commit.get("experiments") or []:
            (revision,) = experiment["revs"]
            data = revision["data"]
            loss = data["metrics"]["metrics/train/head.json"]["data"]["validation"]["loss"]
            found[experiment["name"]] = (float(data["params"]["params.yaml"]["data"]["head"]["lr"]), float(loss))
    return found


def _pulled(machine: Clone) -> Shown:
    """Pull the experiments of all machines, and return all."""
    machine.dvc("exp", "pull", "origin")
    return _shown(machine)


def test_no_setting_is_trained_twice(machines: tuple[Clone, Clone]) -> None:
    first, second = machines
    _queue(first, "1e-3")
    _queue(second, "1e-2")
    with ThreadPoolExecutor(len(machines)) as pool:
        ran = list(pool.map(_work, machines))
    assert [each.started for each in ran] == [["train_head"], ["train_head"]]

    # All of it is seen on both.
    shown = _pulled(first)
    assert _pulled(second) == shown
    losses = dict(shown.values())
    assert sorted(losses) == [1e-3, 1e-2]
    assert len(shown) == len(set(losses.values())) == 2

    # What one has put into the run cache, another restores, of whoever's experiment it was.
    for name in shown:
        first.dvc("exp", "apply", name)
        assert "run cache: 10 stages kept" in first.run("python", "-m", "transfer", "share", "--push").output
    _queue(second, "1e-3,1e-2")
    again = _work(second)
    assert (again.stages, again.restored) == ([], ["train_head"] * 2)
    assert Counter(_shown(second).values()) == dict.fromkeys(losses.items(), 2)
