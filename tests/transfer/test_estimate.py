"""Tests of transfer/estimate.py: what a run is estimated to cost, from given rates and from measured ones."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tests.conftest import ROOT, SMALL
from transfer import estimate
from transfer.core.cards import Card
from transfer.core.errors import UserError
from transfer.core.params import Params, read_params
from transfer.estimate import Cost, Rates, Training, costs, table, warnings

CARD = Card(title="colours", symmetry="dihedral")
RATES = Rates(
    start=5,
    build=3,
    read=0.001,
    decode=0.002,
    forward=0.01,
    file=10_000,
    memory=(500, 1000),
    activations={"head": 20, "finetune": 300},
    trainings={name: Training(2, 0.1, 1500, 40) for name in ("ann", "cnn", "head", "finetuned")},
)


def _params(folder: Path, **finetune: object) -> Params:
    given = SMALL | {"dataset": "pictures", "finetune": SMALL["finetune"] | finetune}
    (path := folder / "params.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
    return read_params(path)


def test_it_knows_exactly_the_stages_of_the_pipeline(tmp_path: Path) -> None:
    with Repo(ROOT) as repo:
        stages = {stage.addressing for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"}
    assert set(costs(100, _params(tmp_path), CARD, RATES)) == stages


def test_more_images_never_cost_less(tmp_path: Path) -> None:
    few, many = (costs(images, _params(tmp_path), CARD, RATES) for images in (100, 1000))
    for name, of in few.items():
        assert min(of.seconds, of.memory) > 0
        assert (of.seconds, of.disk, of.memory) <= (many[name].seconds, many[name].disk, many[name].memory)
    assert few["finetune"].seconds < many["finetune"].seconds
    assert few["train_baseline@cnn"].memory < many["train_baseline@cnn"].memory


def test_views_epochs_and_the_cut_count(tmp_path: Path) -> None:
    """Of 100 images 50 are trained on and 25 validate, of which a pass takes a third of a step."""
    params = _params(tmp_path, views=4, augment="cached", epochs=3)
    found = costs(100, params, CARD, RATES)
    assert found["embed"] == Cost(5 + 3 + (75 + 225) * 0.01, 75 * 20 + 225 * 300, 1000)
    assert found["finetune"].seconds == pytest.approx(5 + 2 + 3 * (50 + 25 / 3) * 0.1)
    assert found["preprocess"].disk == 100 * 32 * 32 * 3
    assert costs(100, replace(params, time_budget_s=10.0), CARD, RATES)["finetune"].seconds == 5 + 10
    assert costs(100, _params(tmp_path, cut="input"), CARD, RATES)["embed"].disk == 75 * 20


def test_too_much_memory_or_time_names_the_keys() -> None:
    estimated = {"train_baseline@cnn": Cost(60, 0, 9e9), "finetune": Cost(3601, 0, 8e9)}
    assert warnings(estimated | {"finetune": Cost(3600, 0, 8e9)}, 9e9) == []
    baseline, tuned, long = warnings(estimated, 7e9)
    assert baseline.startswith("memory: train_baseline@cnn needs about 9.0 GB, and this machine has 7.0 GB; set basel")
    assert "set batch_size, image_size or max_images lower" in tuned
    assert "more than an hour; time_budget_s limits it, and fewer finetune.epochs" in long


@pytest.mark.parametrize("contents", [("123456789\n", None), (None, "123456789\n"), ("max\n", "123456789\n")])
def test_a_containers_limit_of_memory_counts(
    contents: tuple[str | None, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes")
    monkeypatch.setattr(estimate, "CONTAINER_LIMITS", files)
    machine = estimate.memory_here()
    assert machine == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file, content in zip(files, contents, strict=True):
        if content is not None:
            file.write_text(content, encoding="ascii")
    assert estimate.memory_here() == 123456789 < machine
    for file in files:
        file.write_text("9223372036854771712\n", encoding="ascii")  # what cgroup v1 says where there is no limit
    assert estimate.memory_here() == machine


def test_the_table_ends_with_all_stages_together() -> None:
    *_, last = table({"a": Cost(60, 1e6, 5e6), "b": Cost(30, 2e6, 3e6)})
    assert last.split() == ["all", "1.5", "3", "MB", "5", "MB"]


@pytest.mark.parametrize("augment", ["cached", "on_the_fly"])
def test_it_measures_what_there_is(
    project: Path, tiny_backbone: None, capsys: pytest.CaptureFixture[str], augment: str
) -> None:
    _params(project, augment=augment)
    estimate.main()
    said = capsys.readouterr().out
    assert said.startswith("check: estimate for 48 images on this machine")
    assert set(costs(48, read_params(Path("params.yaml")), CARD, RATES)) < {
        line.split()[0] for line in said.splitlines()
    }


def test_all_measured_figures_are_positive(project: Path, tiny_backbone: None) -> None:
    files = sorted(Path("pictures").rglob("*.png"))
    measured = estimate.measure(_params(project), Card(title="colours"), ("blue", "red"), files)
    assert min(measured.start, measured.build, measured.read, measured.decode, measured.forward, measured.file) > 0
    assert measured.activations == {"head": 16 * 2, "finetune": 16 * 16 * 8 * 2}
    assert min(min(of.image, of.memory, of.weights) for of in measured.trainings.values()) > 0


def test_nothing_is_measured_where_nothing_would_run_or_the_images_are_not_here(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(estimate, "measure")
    Path("pictures.tar").write_bytes(b"any")
    estimate.main("pictures.tar")
    assert "cannot be estimated before the images have been downloaded" in capsys.readouterr().out
    monkeypatch.setattr(estimate, "stale_stages", set)
    estimate.main()
    assert capsys.readouterr().out == "check: all stages are up to date\n"


@pytest.mark.filterwarnings("ignore:_NoneStep.value")  # in what DVC imports: not ours to mend
def test_what_depends_on_a_changed_stage_would_run_too(project: Path) -> None:
    assert estimate.stale_stages() is None
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True)
    Path("one").touch()
    stages = {"first": ("one", "two"), "second": ("two", "three"), "other": ("one", "four")}
    made = {name: {"cmd": f"cp {dep} {out}", "deps": [dep], "outs": [out]} for name, (dep, out) in stages.items()}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": made}), encoding="utf-8")
    subprocess.run(["dvc", "repro", "--quiet"], check=True)
    assert estimate.stale_stages() == set()
    Path("two").unlink()
    assert estimate.stale_stages() == {"first", "second"}


def test_classes_that_the_folder_does_not_have_are_said_before_anything_is_measured(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(estimate, "measure")
    Path("pictures/card.yaml").write_text("title: colours\nclasses: [blues, reds]\n", encoding="utf-8")
    with pytest.raises(UserError, match="the card names the classes blues, reds, but the folders with images are blue"):
        estimate.main("pictures")
