"""Tests of transfer/check.py: what is wrong in params.yaml or the card is said before any work."""

import csv
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from transfer import check
from transfer.check import main
from transfer.core.cards import ASSUMED
from transfer.core.cuts import CUTS
from transfer.core.errors import UserError
from transfer.export import classifiers

COLOURS = ["blue", "red"]


def _replace(old: str, new: str) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_projects_params_and_dataset_fit_together(project: Path) -> None:
    main()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "head:\n",
            "head:\n  droput: 0.5\n",
            r"droput: unknown key; did you mean dropout\?",
        ),
        (
            "backbone: efficientnet_lite0",
            "backbone: data/backbones/none",
            "backbone: data/backbones/none has no config.json; put the backbone's files there",
        ),
        ("dataset: pictures", "dataset: none", "dataset: there is nothing at 'none'; give the path of a folder"),
        ("views: 1", "views: 8", r"views: expected at most 2, which is what the dataset's symmetry \(mirror\) allows"),
    ],
)
def test_what_is_wrong_is_one_line(project: Path, old: str, new: str, message: str) -> None:
    _replace(old, new)
    with pytest.raises(UserError, match=message) as error:
        main()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("symmetry", ["auto", "mirror"])
def test_a_symmetry_that_nobody_stated_is_said_in_a_line(
    project: Path, capsys: pytest.CaptureFixture[str], symmetry: str
) -> None:
    _set(symmetry=symmetry)
    main()
    said = capsys.readouterr().out
    assert (
        said
        == (f"check: {ASSUMED}\n" if symmetry == "auto" else "")
        + "check: no problems found in params.yaml and pictures\n"
    )


def test_a_format_whose_package_is_not_installed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = classifiers.is_installed
    monkeypatch.setattr(classifiers, "is_installed", lambda name: name != "onnxruntime" and installed(name))
    with pytest.raises(UserError, match=r"export.formats: these packages are not installed: onnxruntime; pip install"):
        main()
    Path("pictures.tar").write_bytes(b"any")
    with pytest.raises(UserError, match=r"export.formats: these packages are not installed: onnxruntime"):
        main("pictures.tar")
    _set(export={"formats": ["openvino"]})
    main()


def test_a_disk_that_may_become_full_is_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """48 images of 512 x 512 pixels in colour: the records twice, and 2 views of 0.6 activations of 2 bytes a pixel."""
    images = sum(path.stat().st_size for path in Path("pictures").rglob("*.png"))
    needed = images + int(48 * 512**2 * (2 * 3 + 2 * 0.6 * 2))
    given = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["finetune"]
    _set(symmetry="mirror", image_size=512, finetune=given | {"cut": "auto", "views": "all"})
    for free in (needed + 1, needed - 1):
        monkeypatch.setattr(check, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        main()
        said = "check: disk: a first run may take up to 0.1 GB for 48 images, and 0.1 GB are free; free some, or set "
        assert capsys.readouterr().out.startswith(said) == (free < needed)


def test_the_param_overrides_the_cards_symmetry(project: Path) -> None:
    _card(symmetry="dihedral")
    _set(evaluate={"views": 8})
    main()
    _set(symmetry="none")
    with pytest.raises(UserError, match=r"evaluate.views: expected at most 1, .* \(none\) allows, received 8"):
        main()


def _set(**values: Any) -> None:
    given = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(yaml.safe_dump(given | values), encoding="utf-8")


def _card(**values: Any) -> None:
    Path("pictures/card.yaml").write_text(yaml.safe_dump({"title": "colours"} | values), encoding="utf-8")


def _table(*rows: tuple[str, str]) -> dict[str, str]:
    """Put the table of a folder beside its images, which lie in no class folders then."""
    with Path("pictures/labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *rows])
    return {"file": "labels.csv", "image": "image", "label": "label"}


def _zipped(top: str) -> None:
    """Make an archive of the folder, as macOS does, with entries of its own beside it."""
    with zipfile.ZipFile("pictures.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in Path("pictures").rglob("*"):
            archive.write(path, top / path.relative_to("pictures"))
        archive.writestr("__MACOSX/card.yaml", "no card")
        archive.writestr(f"__MACOSX/{top}/._card.yaml", "no card")
    _set(dataset="pictures.zip")


@pytest.mark.parametrize("top", ["", "pictures", "a/b"])
def test_the_card_inside_an_archive_counts(project: Path, top: str) -> None:
    _card(symmetry="mirror", classes=["blue", "red"])
    _zipped(top)
    _set(evaluate={"views": 2}, class_weights={"blue": 1, "red": 2})
    main()
    _set(evaluate={"views": 8})
    with pytest.raises(UserError, match=r"evaluate.views: .* \(mirror\)"):
        main()
    _set(evaluate={"views": 2}, class_weights={"blue": 1, "green": 2})
    with pytest.raises(UserError, match="class_weights: the classes are blue, red, and the weights are for blue, gr"):
        main()


def test_a_card_inside_an_archive_may_end_in_yml(project: Path) -> None:
    _card(symmetry="mirror", classes=["blue", "red"])
    Path("pictures/card.yaml").rename("pictures/card.yml")
    _zipped("pictures")
    _set(evaluate={"views": 2})
    main()


def test_a_wrong_card_inside_an_archive_is_named_by_the_archive(project: Path) -> None:
    _card(symmetry="round")
    _zipped("pictures")
    with pytest.raises(UserError, match=r"^pictures.zip/pictures/card.yaml: symmetry: ") as error:
        main()
    assert "\n" not in str(error.value)


def test_what_only_unpacking_tells_is_not_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _set(evaluate={"views": 8}, class_weights={"a": 1, "b": 2}, labels="soft", dataset="pictures.tar.gz")
    Path("pictures.tar.gz").write_bytes(b"any")
    main()
    assert capsys.readouterr().out == (
        "check: pictures.tar.gz: what is in it is checked when download unpacks it\n"
        "check: no problems found in params.yaml and pictures.tar.gz\n"
    )
    Path("pictures.zip").write_bytes(b"PK\x03\x04 damaged, as download says")
    _set(dataset="pictures.zip")
    main()


@pytest.mark.parametrize("source", ["class folders", "the card", "the table"])
def test_class_weights_of_other_names(project: Path, source: str) -> None:
    if source == "the card":
        _card(classes=["red", "blue"])
    if source == "the table":
        _card(table=_table(*((f"{name}/00{number}.png", name) for name in ("blue", "red") for number in range(3))))
    _set(class_weights={"red": 1, "blue": 2})
    main()
    _set(class_weights={"red": 1, "bleu": 2})
    with pytest.raises(UserError, match=r"class_weights: the classes are .*, and the weights are for bleu, red; give"):
        main()


def test_a_folder_without_images_does_not_fit(project: Path) -> None:
    Path("empty/red").mkdir(parents=True)
    with pytest.raises(UserError, match=r"empty: no readable images \(found: no files; supported: .*\); give a folder"):
        main("empty")


def test_classes_of_the_card_that_no_folder_has(project: Path) -> None:
    _card(classes=["blue", "green"])
    with pytest.raises(UserError, match=r"names the classes blue, green, but the folders with images are blue, red"):
        main()


@pytest.mark.parametrize("source", ["class folders", "the table"])
def test_a_class_with_too_few_images_for_every_split(project: Path, source: str) -> None:
    for path in sorted(Path("pictures/red").iterdir())[1:]:
        path.unlink()
    if source == "the table":
        _card(table=_table(*((f"blue/00{number}.png", "blue") for number in range(3)), ("red/000.png", "red")))
    with pytest.raises(UserError, match=r"pictures: every class needs .*, test: red has 1 and needs 3. Add images, or"):
        main()


def test_a_class_with_no_image_in_a_given_split(project: Path) -> None:
    Path("pictures/train").mkdir()
    for name in COLOURS:
        Path("pictures", name).rename(Path("pictures/train", name))
    Path("pictures/test/red").mkdir(parents=True)
    shutil.copy("pictures/train/red/000.png", "pictures/test/red/a.png")
    with pytest.raises(UserError, match=r"\(validation drawn from train\): test has 0 of blue and needs 1. Add"):
        main()


def test_soft_labels_where_there_are_none(project: Path) -> None:
    _set(labels="soft")
    with pytest.raises(UserError, match="labels: soft, and the dataset has no soft labels; set labels to hard or auto"):
        main()
    table = _table(*((f"{name}/00{number}.png", str(int(name == "red"))) for name in COLOURS for number in range(3)))
    _card(classes=COLOURS, table={"file": table["file"], "image": table["image"], "soft_label": table["label"]})
    main()


def test_dask_where_it_is_not_installed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _set(runner="dask")
    main()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"runner: dask needs the Python package distributed, .*: pip install -r"):
        main()


def test_weights_that_are_not_there(project: Path) -> None:
    file = Path("mine.h5")
    _set(backbone="vgg16", weights={"file": "mine.h5", "sha256": hashlib.sha256(b"weights").hexdigest()})
    _set(finetune=yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["finetune"] | {"cut": "auto"})
    with pytest.raises(UserError, match=r"weights.file: there is no file 'mine.h5'"):
        main()
    file.write_bytes(b"others")
    with pytest.raises(UserError, match=r"mine.h5: expected a file with SHA-256 .*, received one with"):
        main()
    file.write_bytes(b"weights")
    main()
    file.rename("mine.pt")
    _set(weights={"file": "mine.pt", "sha256": hashlib.sha256(b"weights").hexdigest()})
    with pytest.raises(UserError, match=r"mine.pt: weights have to be a Keras file, \*.h5"):
        main()


@pytest.mark.parametrize("backbone", [*CUTS, "keras:DenseNet121"])
def test_the_backbone_alone_may_be_changed(project: Path, backbone: str, capsys: pytest.CaptureFixture[str]) -> None:
    real = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(yaml.safe_dump(real | {"dataset": "pictures", "backbone": backbone}), "utf-8")
    main()
    assert capsys.readouterr().out.endswith("check: no problems found in params.yaml and pictures\n")


@pytest.mark.parametrize(("backbone", "weights"), [("keras:VGG19", "packaged"), ("efficientnet_lite0", "imagenet")])
def test_weights_that_a_backbone_has_none_of(project: Path, backbone: str, weights: str) -> None:
    _set(backbone=backbone, weights=weights)
    _set(finetune=yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["finetune"] | {"cut": "auto"})
    with pytest.raises(UserError, match=f"weights: {backbone} has no {weights} weights; set weights to"):
        main()


def test_only_a_backbone_that_kerashub_loads_takes_a_sha256_alone(project: Path) -> None:
    cut = {"finetune": yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["finetune"] | {"cut": "auto"}}
    _set(backbone="hub:dinov2_small", image_size="auto", weights={"sha256": "0a" * 32}, **cut)
    main()
    _set(backbone="vgg16")
    with pytest.raises(
        UserError, match=r"weights: vgg16 has no pinned weights; set weights to auto, imagenet, none or"
    ):
        main()


def test_a_package_of_images_that_is_not_installed(project: Path) -> None:
    source = {"package": {"name": "no-such-images", "version": "1.0", "folder": "images"}}
    card = {"title": "x", "classes": ["a", "b"], "source": source, "table": {"file": "a", "image": "b", "label": "c"}}
    Path("card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    _set(dataset="card.yaml")
    with pytest.raises(UserError, match=r"no-such-images 1.0 is not installed: pip install no-such-images=="):
        main()


def test_it_loads_neither_keras_nor_tensorflow_nor_pandas() -> None:
    code = (
        "import sys; from transfer.check import main; main(); "
        "sys.exit(' '.join(sorted({'keras', 'tensorflow', 'pandas', 'distributed'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.stderr.strip() == ""
