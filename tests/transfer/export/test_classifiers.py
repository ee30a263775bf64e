"""Which exported file is read, by which runtime, and what is said of one that cannot be."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest

from tests.conftest import ROOT, remove
from tests.transfer.conftest import CLASSES, Exported, images_of
from transfer.core.errors import UserError
from transfer.core.params import Format
from transfer.export import classifiers
from transfer.export.classifiers import choose_format, open_classifier
from transfer.export.formats import FORMATS


@pytest.fixture
def copy(exported: Exported, tmp_path: Path) -> Path:
    """A copy of an export, to damage."""
    folder = tmp_path / "export"
    shutil.copytree(exported.folder, folder)
    return folder


def test_the_fastest_that_is_there_and_installed_is_chosen(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_format(copy) == "openvino"
    missing = {"openvino"}
    monkeypatch.setattr(classifiers, "is_installed", lambda package: package not in missing)
    assert choose_format(copy) == "litert_float32"
    missing.add("ai-edge-litert")
    assert choose_format(copy) == "onnx"
    remove(copy / "model.onnx")
    assert choose_format(copy) == "saved_model"
    missing.add("tensorflow")
    needed = "openvino or ai-edge-litert or tensorflow"
    with pytest.raises(UserError, match=f"no package that runs it is installed; pip install {needed}"):
        choose_format(copy)
    missing.clear()
    for name in ("openvino", "saved_model"):
        remove(copy / name)
    remove(copy / "litert/float32.tflite")
    assert choose_format(copy) == "litert_float16"  # not as exact, but nothing else is there
    assert choose_format(copy, "litert_int8") == "litert_int8"


def test_a_format_that_is_wanted_has_to_be_there(copy: Path) -> None:
    remove(copy / "model.onnx")
    with pytest.raises(
        UserError, match=r"export: expected the format onnx, received openvino, litert_float32, saved_mo"
    ):
        open_classifier(copy, "onnx")


@pytest.mark.parametrize(
    ("part", "wanted", "expected"),
    [("openvino", None, "openvino"), ("litert", None, "litert_float32"), ("litert", "litert_int8", "litert_int8")],
)
def test_the_folder_of_a_format_can_be_given(
    part: str, wanted: Format | None, expected: Format, exported: Exported
) -> None:
    images = images_of(2, 3)
    one, other = open_classifier(exported.folder / part, wanted), open_classifier(exported.folder, expected)
    assert np.array_equal(one.probabilities(images), other.probabilities(images))
    with pytest.raises(UserError, match=f"{part}: expected the format onnx, received {part}"):
        open_classifier(exported.folder / part, "onnx")


def test_a_runtime_that_is_wanted_has_to_be_installed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "is_installed", lambda package: package != "onnxruntime")
    with pytest.raises(UserError, match=r"the package that runs it is not installed; pip install onnxruntime"):
        open_classifier(copy, "onnx")


@pytest.mark.parametrize("package", [*dict.fromkeys(kind.package for kind in FORMATS.values()), "there-is-none"])
def test_packages_are_found_by_the_names_they_install_under(package: str) -> None:
    assert classifiers.is_installed(package) == (package != "there-is-none")


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_can_be_moved_and_renamed(name: Format, copy: Path, tmp_path: Path) -> None:
    place = copy / FORMATS[name].place
    moved = tmp_path / f"cells{place.suffix}"
    if name == "openvino":
        place.with_suffix(".bin").rename(moved.with_suffix(".bin"))
    place.rename(moved)
    classifier = open_classifier(moved)
    assert classifier.contract.classes == CLASSES
    assert classifier.probabilities(images_of(2, 3)).shape == (2, 3)


def test_what_is_no_export_is_said_to_be_none(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: no exported classifier; run dvc repro export"):
        open_classifier(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no exported classifier; run dvc repro export, or dvc pull"):
        open_classifier(tmp_path / "empty")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=r"notes.txt: not an exported file; give a folder, .xml, .onnx or .tflite"):
        open_classifier(tmp_path / "notes.txt")
    (tmp_path / "plain").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=r"plain: not an exported file; give a folder, .xml"):
        open_classifier(tmp_path / "plain")
    with pytest.raises(UserError, match=r"model.onnx: not in the format openvino; onnxruntime runs this file"):
        open_classifier(copy / "model.onnx", "openvino")


@pytest.mark.parametrize("left", [0, 100, 3000])
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_an_error_that_names_it(name: Format, left: int, copy: Path) -> None:
    path = copy / FORMATS[name].place
    file = path / "saved_model.pb" if path.is_dir() else path
    assert file.stat().st_size > 4000
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(UserError, match=rf"{path.name}: expected a classifier that"):
        open_classifier(copy, name)


@pytest.mark.parametrize("file", ["openvino/model.bin", "saved_model/variables/variables.index",
                                  "saved_model/assets/contract.json"])  # fmt: skip
def test_a_missing_part_is_an_error_that_names_the_model(file: str, copy: Path) -> None:
    remove(copy / file)
    name: Format = "openvino" if file.startswith("openvino") else "saved_model"
    with pytest.raises(UserError, match=rf"{Path(FORMATS[name].place).name}: expected a classifier that"):
        open_classifier(copy, name)


def test_a_model_of_somebody_else_is_an_error(copy: Path, tmp_path: Path) -> None:
    foreign = onnx.load(copy / "model.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    entry = openvino.opset13.parameter([1, 4], openvino.Type.f32)
    openvino.save_model(openvino.Model([openvino.opset13.relu(entry)], [entry]), tmp_path / "foreign.xml")
    for file in ("foreign.onnx", "foreign.xml"):
        with pytest.raises(UserError, match=rf"{file}: no metadata in it; give a file written by the stage export"):
            open_classifier(tmp_path / file)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"image_size": "0"}, "image_size: expected at least 1, received 0"),
        ({"channels": "2"}, "channels: expected 1 or 3, received 2"),
        ({"classes": "[1"}, "expected metadata in JSON, received: "),
        ({"temperature": "null"}, "temperature: expected a number, received None"),
    ],
)
def test_metadata_that_makes_no_sense_is_an_error(changed: dict[str, str], said: str, copy: Path) -> None:
    file = copy / "saved_model/assets/contract.json"
    properties = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**properties, **changed}), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        open_classifier(copy, "saved_model")
    assert said in str(caught.value)


LOADED = """
import sys
from pathlib import Path
from transfer.__main__ import main
sys.argv = ["transfer", "predict", sys.argv[2], "--model", sys.argv[1], "--format", sys.argv[3]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("imported:", *(name for name in ("tensorflow", "keras", "pandas", "openvino", "onnxruntime", "ai_edge_litert")
                     if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("name", "imported"),
    [("openvino", ["openvino"]), ("onnx", ["onnxruntime"]), ("litert_float32", ["ai_edge_litert"])],
)
def test_a_process_that_predicts_imports_its_runtime_only(
    name: str, imported: list[str], exported: Exported, tmp_path: Path
) -> None:
    from PIL import Image

    Image.fromarray(images_of(1, 3)[0]).save(tmp_path / "a.png")
    command = [sys.executable, "-c", LOADED, str(exported.folder), str(tmp_path / "a.png"), name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split()[1:] == imported


def test_what_is_fast_is_less_exact_and_asked_for(exported: Exported) -> None:
    import openvino

    images = images_of(8, 3)
    exact = open_classifier(exported.folder, "openvino").probabilities(images)
    fast = open_classifier(exported.folder, "openvino", fast=True)
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert 1e-5 < np.abs(fast.probabilities(images) - exact).max() < 0.1
    else:
        with pytest.raises(
            UserError, match=r"expected a processor that computes in bfloat16, received one with .*FP32"
        ):
            fast.probabilities(images)
    with pytest.raises(UserError, match=r"model\.onnx: --fast needs the format openvino; onnxruntime runs"):
        open_classifier(exported.folder, "onnx", fast=True)


def test_openvino_gives_the_same_for_one_and_for_many(exported: Exported) -> None:
    images = images_of(5, 3)
    many = open_classifier(exported.folder, "openvino").probabilities(images)
    alone = open_classifier(exported.folder, "openvino", latency=True)
    np.testing.assert_allclose(np.concatenate([alone.probabilities(image[None]) for image in images]), many, atol=1e-6)
