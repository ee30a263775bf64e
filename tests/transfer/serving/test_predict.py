"""Tests of transfer/serving/predict.py and the command line: python -m transfer predict."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.transfer.conftest import CLASSES, Exported, images_of
from transfer import __main__
from transfer.core.errors import UserError
from transfer.export.classifiers import open_classifier
from transfer.serving.arguments import find_images
from transfer.serving.predict import Ranking, predict

NAMES = [
    "plain.png", "two words.png", "comma, and \"quotes\".png", "new\nline.png", "grün 雪.png", "-h.png", "%s{0}.png",
    "escape\x1b[31m.png", os.fsdecode(b"no-utf8-\xff.png"), "sub/a.PNG", "sub/deeper/b.jpg", "'.png",
]  # fmt: skip
"""Of images in a folder."""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of images with odd names, all different, among other files."""
    place = tmp_path / "pictures"
    for name, pixels in zip(NAMES, images_of(len(NAMES), 3, (40, 60)), strict=True):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / name, quality=95)
    (place / "notes.txt").write_text("no image", encoding="utf-8")
    return place


@pytest.fixture
def run(exported: Exported, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the exported model; returns exit status, standard output and standard error."""

    def command(*arguments: str, model: Path = exported.folder) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["transfer", "predict", "--model", str(model), *arguments])
        written = io.BytesIO()
        out = io.TextIOWrapper(written)  # pytest's own takes nothing but UTF-8
        monkeypatch.setattr("sys.stdout", out)
        with pytest.raises(SystemExit) as caught:
            __main__.main()
        monkeypatch.undo()
        assert isinstance(caught.value.code, int)
        return caught.value.code, written.getvalue().decode("utf-8", "surrogateescape"), capsys.readouterr().err

    return command


def _expected(exported: Exported, path: Path) -> np.ndarray:
    """What Keras says of a file, resized by Pillow."""
    with Image.open(path) as image:
        pixels = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    probabilities: np.ndarray = exported.keras(pixels[None])[0]
    return probabilities


@pytest.mark.parametrize(
    ("threshold", "order"),
    [
        (None, "bca"),
        (("a", 0.1), "abc"),
        (("a", 0.2), "bca"),
        (("b", 0.4), "bca"),
        (("b", 0.5), "cba"),
        (("c", 0.29), "cba"),
    ],
)
def test_a_threshold_decides_which_class_is_first(threshold: tuple[str, float] | None, order: str) -> None:
    ranking = Ranking(("a", "b", "c"), None, threshold)
    found = ranking.of_image(np.array([0.2, 0.5, 0.3], np.float32))
    assert "".join(name for name, _ in found) == order
    assert dict(found) == pytest.approx({"a": 0.2, "b": 0.5, "c": 0.3})
    assert len(Ranking(("a", "b", "c"), 1, threshold).of_image(np.array([0.2, 0.5, 0.3], np.float32))) == 1


def test_the_threshold_of_the_file_is_taken_if_it_has_one(exported: Exported) -> None:
    contract = replace(exported.contract, positive=CLASSES[1], threshold=0.38)
    assert Ranking.of(contract, None, "auto").threshold == (CLASSES[1], 0.38)
    with pytest.raises(UserError, match=r"^threshold: the exported model has none; give one, as CLASS=PROBABILITY$"):
        Ranking.of(exported.contract, None, "auto")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("0.4", "expected CLASS=PROBABILITY with a class of "),
        ("nobody=0.4", "expected CLASS=PROBABILITY with a class of "),
        (f"{CLASSES[0]}=2", "expected a probability from 0 to 1, received '2'"),
        (f"{CLASSES[0]}=nan", "expected a probability from 0 to 1, received 'nan'"),
        (f"{CLASSES[0]}=", "expected a probability from 0 to 1, received ''"),
    ],
)
def test_a_threshold_that_is_none_is_an_error(given: str, said: str, exported: Exported) -> None:
    with pytest.raises(UserError, match=f"^threshold: {said}"):
        Ranking.of(exported.contract, None, given)


def test_the_command_predicts_by_a_threshold(run: Run, folder: Path) -> None:
    image = str(folder / "plain.png")
    for name in CLASSES:
        status, out, _ = run("--json", "--threshold", f"{name}=0", image)
        assert (status, json.loads(out)[0]["class"]) == (0, name)


def _in_order(folder: Path) -> list[str]:
    """Paths of the images as they are found: of each folder the files first, by name."""
    inner = ["sub/a.PNG", "sub/deeper/b.jpg"]
    return [str(folder / name) for name in [*sorted(name for name in NAMES if name not in inner), *inner]]


def test_json_holds_the_probabilities_of_every_image_by_class(run: Run, folder: Path, exported: Exported) -> None:
    status, out, errors = run(str(folder), "--json")
    assert status == 0
    entries = json.loads(out)
    assert [entry["image"] for entry in entries] == _in_order(folder)
    for entry in entries:
        expected = dict(zip(CLASSES, _expected(exported, Path(entry["image"])), strict=True))
        assert entry["probabilities"] == pytest.approx(expected, abs=1e-5)
        values = list(entry["probabilities"].values())
        assert values == sorted(values, reverse=True)
        assert entry["class"] == max(expected, key=lambda name: expected[name])
    assert len({entry["class"] for entry in entries}) > 1
    assert "predict: 100%" in errors


def test_csv_json_and_library_give_the_same_numbers(run: Run, folder: Path, exported: Exported) -> None:
    _, as_csv, _ = run(str(folder), "--csv")
    _, as_json, _ = run(str(folder), "--json")
    rows = list(csv.DictReader(io.StringIO(as_csv, newline="")))
    from_json = [
        {"image": entry["image"], "rank": str(rank), "class": name, "probability": value}
        for entry in json.loads(as_json)
        for rank, (name, value) in enumerate(entry["probabilities"].items(), 1)
    ]
    assert [{**row, "probability": float(row["probability"])} for row in rows] == from_json
    classifier = open_classifier(exported.folder)
    direct = {found.image: found.probabilities for found in predict(classifier, _in_order(folder), batch=32)}
    for row in rows:
        probabilities = direct[row["image"]]
        assert probabilities is not None
        assert np.float32(row["probability"]) == probabilities[CLASSES.index(row["class"])]


def test_text_has_a_line_for_each_image_and_nothing_that_moves_a_cursor(run: Run, folder: Path) -> None:
    status, out, _ = run(str(folder))
    assert status == 0
    lines = out.splitlines()
    assert len(lines) == len(NAMES)
    assert "\x1b" not in out
    assert any("new\\nline.png: " in line for line in lines)
    assert any("escape\\x1b[31m.png: " in line for line in lines)
    assert any("no-utf8-\\udcff.png: " in line for line in lines)
    assert any("grün 雪.png: " in line for line in lines)
    assert all(sum(name in line for name in CLASSES) == 3 for line in lines)


def test_top_leaves_the_most_likely(run: Run, folder: Path) -> None:
    _, everything, _ = run(str(folder), "--json")
    _, most, _ = run(str(folder), "--json", "--top", "1")
    for whole, one in zip(json.loads(everything), json.loads(most), strict=True):
        assert one["probabilities"] == {whole["class"]: whole["probabilities"][whole["class"]]}
    _, rows, _ = run(str(folder), "--csv", "--top", "2")
    assert len(list(csv.reader(io.StringIO(rows)))) == 1 + 2 * len(NAMES)


@pytest.mark.parametrize("batch", ["1", "5", "12", "100"])
def test_batches_do_not_change_what_is_said(batch: str, run: Run, folder: Path) -> None:
    _, expected, _ = run(str(folder), "--json")
    status, out, _ = run(str(folder), "--json", "--batch", batch)
    assert status == 0
    for one, other in zip(json.loads(out), json.loads(expected), strict=True):
        assert one["image"] == other["image"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_bad_images_are_listed_and_the_others_predicted(run: Run, folder: Path) -> None:
    whole = (folder / "plain.png").read_bytes()
    (folder / "cut off.png").write_bytes(whole[: len(whole) // 2])
    (folder / "no image.jpg").write_text("hello", encoding="utf-8")
    missing = str(folder / "missing.png")
    status, out, errors = run(str(folder), missing, "--json", "--batch", "3")
    assert status == 3
    entries = {entry["image"]: entry for entry in json.loads(out)}
    bad = {str(folder / "cut off.png"), str(folder / "no image.jpg"), missing}
    assert set(entries) == bad | set(_in_order(folder))
    assert {name for name, entry in entries.items() if "error" in entry} == bad
    assert all(len(entries[name]["probabilities"]) == 3 for name in _in_order(folder))
    assert "could not be read: 3 of 15 images" in errors
    listed = {line.strip().split(": ")[0]: line for line in errors.splitlines() if line.startswith("  ")}
    assert set(listed) == bad
    assert "UnidentifiedImageError" in listed[str(folder / "no image.jpg")]
    status, out, _ = run(str(folder / "no image.jpg"), "--csv")
    assert (status, out) == (3, "image,rank,class,probability\n")


def test_links_that_lead_nowhere_are_listed_and_links_to_folders_followed(run: Run, folder: Path) -> None:
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "linked").symlink_to("sub")
    (folder / "sub/all").symlink_to("..")
    status, out, errors = run(str(folder), "--json")
    assert status == 3
    entries = {entry["image"]: entry for entry in json.loads(out)}
    assert set(entries) == {
        *_in_order(folder), *(str(folder / name) for name in ("gone.png", "linked/a.PNG", "linked/deeper/b.jpg")),
    }  # fmt: skip
    assert entries[str(folder / "gone.png")]["error"] == "No such file or directory"
    assert "could not be read: 1 of 15 images" in errors


def test_what_the_pipeline_leaves_out_is_left_out(folder: Path) -> None:
    for name in ("._plain.png", ".ipynb_checkpoints/plain.png", "__MACOSX/._plain.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    assert list(find_images([str(folder)])) == _in_order(folder)


def test_a_file_is_tried_whatever_it_is_called(run: Run, folder: Path) -> None:
    image = folder / "plain.png"
    image.rename(folder / "plain.dat")
    status, out, errors = run(str(folder / "plain.dat"))
    assert status == 0
    assert out.count("\n") == 1
    assert "predict:" not in errors  # no progress bar for a file


def test_a_grey_model_that_pads_sees_grey_and_padding(exported_grey: Exported, run: Run, folder: Path) -> None:
    _, out, _ = run(str(folder / "plain.png"), "--json", model=exported_grey.folder)
    with Image.open(folder / "plain.png") as image:
        grey = np.full((32, 32), 128, np.uint8)
        grey[6:27] = np.asarray(image.convert("L").resize((32, 21), Image.Resampling.BILINEAR))  # of 60 x 40
    expected = dict(zip(CLASSES, exported_grey.keras(grey[None, ..., None])[0], strict=True))
    assert json.loads(out)[0]["probabilities"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["onnx", "saved_model", "litert_float32"])
def test_every_format_says_the_same(name: str, run: Run, folder: Path) -> None:
    _, expected, _ = run(str(folder), "--json")
    status, out, _ = run(str(folder), "--json", "--format", name)
    assert status == 0
    for one, other in zip(json.loads(out), json.loads(expected), strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_exif_and_sixteen_bits_are_read_as_the_pipeline_does(run: Run, tmp_path: Path, exported: Exported) -> None:
    pixels = images_of(1, 3, (32, 32))[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    _, out, _ = run(str(tmp_path / "turned.png"), "--json")
    expected = dict(zip(CLASSES, exported.keras(np.rot90(pixels, -1)[None])[0], strict=True))
    assert json.loads(out)[0]["probabilities"] == pytest.approx(expected, abs=1e-5)
    grey = pixels[..., 0]
    Image.fromarray(grey.astype(np.uint16) << 8).save(tmp_path / "wide.png")
    _, out, _ = run(str(tmp_path / "wide.png"), "--json")
    expected = dict(zip(CLASSES, exported.keras(np.repeat(grey[None, ..., None], 3, axis=-1))[0], strict=True))
    assert json.loads(out)[0]["probabilities"] == pytest.approx(expected, abs=1e-5)


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=r": no images in it \(.*\.bmp, .*\): give a folder that has some"):
        list(find_images([str(tmp_path)]))


def test_no_more_than_a_few_batches_are_held_in_memory(exported: Exported, folder: Path) -> None:
    asked = []

    def names() -> Iterator[str]:
        for _ in range(1000):
            asked.append(1)
            yield str(folder / "plain.png")

    found = predict(open_classifier(exported.folder), names(), batch=4)
    for _ in range(4):
        next(found)
    assert 4 <= len(asked) <= 20


def _process(*arguments: str, stdout: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "transfer", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_as_a_process_it_ends_with_a_line_and_a_status(exported: Exported, folder: Path, tmp_path: Path) -> None:
    model = ["--model", str(exported.folder)]
    for status, said, arguments in [
        (0, "", [str(folder / "plain.png"), *model]),
        (1, "error: ", [str(folder), "--model", str(tmp_path / "none")]),
        (2, "expected a whole number from 1, received '0'", [str(folder), "--batch", "0"]),
        (2, "not allowed with argument", [str(folder), "--csv", "--json"]),
        (2, "invalid choice: 'tflite'", [str(folder), "--format", "tflite"]),
        (3, "could not be read: 1 of 1 images", [str(folder / "notes.txt"), *model]),
    ]:
        process = _process("predict", *arguments)
        _, errors = process.communicate()
        assert process.returncode == status, errors
        assert said in errors
        assert "Traceback" not in errors


def test_who_reads_the_output_may_stop(exported: Exported, folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = _process("predict", str(folder), "--model", str(exported.folder), "--json", stdout=writing)
    os.close(writing)
    _, errors = process.communicate()
    assert process.returncode == 141
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


def _shell(command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a shell; `"$@"` in it stands for the arguments."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = ["bash", "-c", command, sys.executable, *arguments]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ('"$0" -m transfer predict "$@" >&-', 1, "error: predict: standard output is closed; "),
        ('"$0" -m transfer predict "$@" >/dev/full', 1, "error: "),
        ('"$0" -m transfer predict "$@" 2>&-', 0, ""),
    ],
)
def test_a_closed_or_full_output_is_a_line_and_a_status(
    command: str, status: int, said: str, exported: Exported, folder: Path
) -> None:
    done = _shell(command, str(folder / "plain.png"), "--model", str(exported.folder))
    assert done.returncode == status
    assert done.stderr.count("\n") == status
    assert done.stderr.startswith(said)
    assert bool(done.stdout) == (status == 0)
