"""Tests of transfer/core/outputs.py: what the user has is neither taken for an output nor removed with one."""

from pathlib import Path

import pytest
import yaml

from tests.conftest import RunStage, colour_images
from transfer.core.cards import read_card
from transfer.core.errors import UserError

COLOURS = {"blue": (40, 60, 200), "red": (200, 60, 40)}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _set_dataset(dataset: str) -> None:
    path = Path("params.yaml")
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "dataset": dataset}), encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "dataset", "message"),
    [
        ("data/raw", "data/raw", "'data/raw' is data/raw, which the pipeline overwrites"),
        ("data/raw/mine", "data/raw/mine", "'data/raw/mine' lies in data/raw, which the pipeline overwrites"),
        ("data/raw/mine", "data", "'data' contains data/activations, which the pipeline overwrites"),
        ("data/raw/mine", "pictures/../data/raw/mine", "lies in data/raw, which the pipeline overwrites"),
        ("data/records", "data/records", "'data/records' is data/records, which"),
        ("models/mine", "models/mine", "lies in models, which"),
        ("mine", ".", "'.' contains data/activations, which .* move the images to a folder of their own"),
    ],
)
def test_a_dataset_among_the_outputs_is_refused_and_left_alone(
    project: Path, run_stage: RunStage, place: str, dataset: str, message: str
) -> None:
    for split in ("train", "test"):
        colour_images(Path(place, split), COLOURS, each=3, size=8)
    before = _files(Path(place))
    _set_dataset(dataset)
    with pytest.raises(UserError, match=f"^params.yaml: dataset: .*{message}"):
        run_stage("download")
    assert _files(Path(place)) == before


def test_a_dataset_that_a_link_leads_to_or_from_is_refused(project: Path, run_stage: RunStage) -> None:
    colour_images(Path("data/raw/mine"), COLOURS, each=3, size=8)
    Path("into").symlink_to("data/raw/mine")
    Path("models").mkdir()
    Path("models/out").symlink_to(project / "pictures")
    before = _files(Path("data/raw"))
    for dataset in ("into", str(project / "into"), "models/out"):
        _set_dataset(dataset)
        with pytest.raises(UserError, match=r"lies in (data/raw|models), which the pipeline overwrites"):
            run_stage("download")
    assert _files(Path("data/raw")) == before
    assert Path("models/out").is_symlink()


def test_an_archive_among_the_outputs_is_refused_by_its_card(project: Path) -> None:
    archive = project / "data/raw/own.zip"
    Path("own.yaml").write_text(
        f"title: t\nsource: {{archive: {{url: '{archive.as_uri()}', size: 1, sha256: '{'0' * 64}'}}}}\n",
        encoding="utf-8",
    )
    with pytest.raises(UserError, match=r"own.yaml: source.archive.url: .*own.zip' lies in data/raw"):
        read_card(Path("own.yaml"))


@pytest.mark.parametrize("place", ["data/mine", "data/rawest", "mine/data/raw", "modelsx"])
def test_a_dataset_beside_the_outputs_is_read(project: Path, run_stage: RunStage, place: str) -> None:
    colour_images(Path(place), COLOURS, each=3, size=8)
    _set_dataset(place)
    run_stage("download")
    assert Path("data/raw/labels.csv").exists()


def test_download_removes_only_what_it_wrote(project: Path, run_stage: RunStage) -> None:
    run_stage("download")
    Path("data/raw/unpacked/half").mkdir(parents=True)  # what a run that was killed leaves
    Path("data/raw/unpacked/half/a.png").write_bytes(b"")
    run_stage("download")
    assert sorted(path.name for path in Path("data/raw").iterdir()) == ["card.yaml", "images", "labels.csv"]
    for own in ("data/raw/notes.txt", "data/raw/images/a.png"):
        Path(own).write_bytes(b"mine")
        before = _files(Path("data/raw"))
        with pytest.raises(UserError, match=f"data/raw: holds {own[9:]}, which this stage did not write; move it"):
            run_stage("download")
        assert _files(Path("data/raw")) == before
        Path(own).unlink()


def test_preprocess_removes_only_what_it_wrote(project: Path, run_stage: RunStage) -> None:
    run_stage("download")
    run_stage("preprocess")
    run_stage("preprocess")
    own = Path("data/records/test/red/a.png")
    own.parent.mkdir()
    own.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"data/records/test: holds red/a.png, which this stage did not write; move it"):
        run_stage("preprocess")
    assert own.read_bytes() == b"mine"
