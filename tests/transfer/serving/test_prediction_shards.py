"""Tests of transfer/serving/prediction_shards.py and the command line: python -m transfer predict … --out FOLDER."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.transfer.conftest import Exported, images_of
from tests.transfer.workers.cluster import Cluster, wait_until
from transfer import __main__
from transfer.core.errors import UserError
from transfer.core.files import read_json, sha256_of
from transfer.serving.prediction_shards import Shard, write_list

NAMES = [
    "a.png",
    'b, "c".png',
    "new\nline.png",
    os.fsdecode(b"no-utf8-\xff.png"),
    "sub/d.png",
    "sub/e.png",
    "sub/f.png",
]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images with odd names, in a folder of the working directory."""
    place = tmp_path / "pictures"
    for name, pixels in zip(NAMES, images_of(len(NAMES), 3, (40, 60)), strict=True):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / name)
    monkeypatch.chdir(tmp_path)
    return Path("pictures")


@pytest.fixture
def run(exported: Exported, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; returns exit status, standard output and standard error."""

    def command(*arguments: str, model: Path = exported.folder) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["transfer", "predict", "--model", str(model), *arguments])
        with pytest.raises(SystemExit) as caught:
            __main__.main()
        assert isinstance(caught.value.code, int)
        return caught.value.code, *capsys.readouterr()

    return command


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def _written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def test_shards_hold_what_predict_prints_of_their_images(run: Run, exported: Exported) -> None:
    status, out, _ = run("pictures", "--out", "out", "--shard", "3", "--csv")
    assert (status, out) == (0, "wrote  out: 7 images in 3 shards\n")
    found = []
    for number, count in enumerate((3, 3, 1)):
        head, *rows = _rows(Path(f"out/shards/{number:05}.csv"))
        assert head == ["image", "rank", "class", "probability"]
        assert len(rows) == 3 * count
        found += rows
    assert [row[0] for row in found[::3]] == [f"pictures/{name}" for name in NAMES]
    command = [sys.executable, "-m", "transfer", "predict", "--model", str(exported.folder), "pictures", "--csv"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    Path("printed.csv").write_bytes(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    printed = _rows(Path("printed.csv"))[1:]
    assert [row[:3] for row in found] == [row[:3] for row in printed]
    np.testing.assert_allclose([float(row[3]) for row in found], [float(row[3]) for row in printed], atol=1e-6)


def test_json_shards_hold_images_and_reasons(run: Run, pictures: Path) -> None:
    (pictures / "c.png").write_text("no image", encoding="utf-8")
    status, _, errors = run("pictures", "--out", "out", "--shard", "2", "--json", "--top", "1")
    assert status == 3
    assert errors.endswith("could not be read: 1 of 8 images, listed in out/unreadable\n")
    entries = [entry for path in sorted(Path("out/shards").iterdir()) for entry in json.loads(path.read_text())]
    assert [entry["image"] for entry in entries] == [f"pictures/{name}" for name in (*NAMES[:2], "c.png", *NAMES[2:])]
    assert [name for entry in entries if "error" in entry for name in [entry["image"]]] == ["pictures/c.png"]
    assert all(len(entry["probabilities"]) == 1 for entry in entries if "error" not in entry)


def test_the_manifest_names_model_images_settings_and_what_is_done(run: Run, exported: Exported) -> None:
    Path("list.txt").write_text("pictures/sub/d.png\n\npictures/gone.png\r\n", encoding="utf-8")
    assert run("pictures/a.png", "--list", "list.txt", "--out", "out", "--shard", "2", "--format", "onnx")[0] == 3
    manifest = read_json(Path("out/manifest.json"))
    listed = Path("out/images.jsonl")
    assert [json.loads(line) for line in listed.read_text().splitlines()] == [
        "pictures/a.png", "pictures/sub/d.png", "pictures/gone.png",
    ]  # fmt: skip
    settings = manifest.pop("settings")
    assert manifest == {
        "inputs": ["pictures/a.png", "list.txt"],
        "model": str(exported.folder / "model.onnx"),
        "unreadable": 1,
        "done": ["shards/00000.csv", "shards/00001.csv"],
    }
    assert len(settings.pop("model_sha256")) == 64
    assert settings == {
        "images": 3, "images_sha256": sha256_of(listed), "kind": "csv", "shard": 2, "batch": 32, "top": None,
        "threshold": None, "fast": False,
    }  # fmt: skip
    assert _rows(Path("out/unreadable/00001.csv")) == [
        ["image", "reason"],
        ["pictures/gone.png", "No such file or directory"],
    ]


def test_run_again_it_goes_on_with_what_is_missing(run: Run, pictures: Path) -> None:
    (pictures / "c.png").write_text("no image", encoding="utf-8")
    assert run("pictures", "--out", "out", "--shard", "3")[0] == 3
    before = _written(Path("out"))
    Path("out/shards/00001.csv").unlink()
    stays = Path("out/shards/00000.csv").stat().st_mtime_ns
    status, out, _ = run("pictures", "--out", "out", "--shard", "3")
    assert (status, out) == (3, "wrote  out: 8 images in 3 shards, 2 of them already there\n")
    assert _written(Path("out")) == before
    assert Path("out/shards/00000.csv").stat().st_mtime_ns == stays
    shutil.copy(pictures / "a.png", pictures / "c.png")
    Path("out/shards/00000.csv").unlink()
    assert run("pictures", "--out", "out", "--shard", "3")[0] == 0
    assert list(Path("out/unreadable").iterdir()) == []


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(run: Run) -> None:
    hidden = Path("mine/notes/.draft")
    hidden.parent.mkdir(parents=True)
    hidden.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"^mine: has notes, but no manifest.json of earlier predictions; give another"):
        run("pictures", "--out", "mine")
    assert [path for path in Path("mine").rglob("*") if path.is_file()] == [hidden]
    hidden.unlink()
    hidden.parent.rmdir()
    assert run("pictures", "--out", "mine")[0] == 0
    hidden.parent.mkdir()
    hidden.write_text("mine", encoding="utf-8")
    assert run("pictures", "--out", "mine")[0] == 0
    assert hidden.exists()


def test_what_changed_is_an_error_and_leaves_all_as_it_was(run: Run, pictures: Path, exported_grey: Exported) -> None:
    assert run("pictures", "--out", "out", "--shard", "3")[0] == 0
    before = _written(Path("out"))
    image = (pictures / "a.png").read_bytes()
    for change, model, said in (
        (
            lambda: (pictures / "g.png").write_bytes(image),
            {},
            "images 7, now 8; use the same again, give another --out",
        ),
        (lambda: (pictures / "g.png").replace(pictures / "a.png"), {"model": exported_grey.folder}, "model_sha256 "),
    ):
        change()
        with pytest.raises(UserError, match=f"^out: begun with {said}"):
            run("pictures", "--out", "out", "--shard", "3", **model)
        assert _written(Path("out")) == before
    (pictures / "a.png").rename(pictures / "aa.png")
    with pytest.raises(UserError, match=r"begun with images_sha256 \w{64}, now \w{64}; "):
        run("pictures", "--out", "out", "--shard", "3")
    (pictures / "aa.png").rename(pictures / "a.png")
    with pytest.raises(UserError, match=r"begun with shard 3, now 4; .*, or remove the folder to predict all again$"):
        run("pictures", "--out", "out", "--shard", "4")
    Path("out/manifest.json").unlink()
    with pytest.raises(UserError, match=r"^out: has shards, but no manifest.json of earlier predictions; "):
        run("pictures", "--out", "out", "--shard", "3")


def test_a_list_without_images_and_a_wrong_use_are_errors(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("list.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^list.txt: no images in it; write the path of one on each line$"):
        run("--list", "list.txt", "--out", "out")
    for arguments, said in (
        ([], "give images, folders or --list FILE"),
        (["a.png", "--scheduler", "x"], "--scheduler needs --out FOLDER"),
    ):
        status, _, errors = run(*arguments)
        assert status == 2
        assert errors.endswith(f"error: {said}\n")


def test_shards_know_their_place_in_the_list(tmp_path: Path) -> None:
    assert write_list(iter(["a", "b", "c\n", "d", "e"]), 2, tmp_path / "list") == [
        Shard(0, 0, 2), Shard(1, 8, 2), Shard(2, 18, 1),
    ]  # fmt: skip
    assert (tmp_path / "list").read_bytes() == b'"a"\n"b"\n"c\\n"\n"d"\n"e"\n'


@pytest.mark.slow
def test_it_goes_on_after_a_kill_with_the_same_bytes(run: Run, exported: Exported) -> None:
    # So many shards that the process cannot be done between the first of them and the kill.
    Path("list.txt").write_text("pictures/a.png\npictures/sub/d.png\n" * 500, encoding="utf-8")
    arguments = ["--list", "list.txt", "--shard", "1", "--out"]
    assert run(*arguments, "whole")[0] == 0
    command = [sys.executable, "-m", "transfer", "predict", "--model", str(exported.folder), *arguments, "out"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    wait_until(lambda: bool(list(Path("out").glob("shards/*.csv"))))
    assert process.poll() is None
    process.kill()
    process.wait()
    assert 0 < len(list(Path("out").glob("shards/*.csv"))) < 1000
    assert run(*arguments, "out")[0] == 0
    assert _written(Path("out")) == _written(Path("whole"))


@pytest.mark.slow
def test_workers_of_a_cluster_write_the_same_bytes(run: Run) -> None:
    assert run("pictures", "--out", "local", "--shard", "2")[0] == 0
    with ExitStack() as stack:
        cluster = Cluster(stack)
        for number in ("1", "2"):
            cluster.worker()
            assert run("pictures", "--out", number, "--shard", "2", "--scheduler", cluster.address)[0] == 0
            assert _written(Path(number)) == _written(Path("local"))
