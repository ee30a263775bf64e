"""Tests of transfer/backbones.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from transfer.backbones import main
from transfer.core.cuts import FACTS
from transfer.core.errors import UserError


def _listed(pattern: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    main(pattern)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["backbone", "parameters", "trained", "at", "weights"]
    return lines


def test_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    *lines, presets = _listed("", capsys)
    assert [line.split()[0] for line in lines] == list(FACTS)
    assert len({line.index(" px ") for line in lines}) == 1, "columns"
    assert lines[0].split(maxsplit=4)[1:] == ["3,413,024", "224", "px", "packaged, installed"]
    assert presets == "and 140 presets of KerasHub: python -m transfer backbones hub:"


@pytest.mark.parametrize("pattern", ["RESNET*v2", "keras:*net*V2"])
def test_a_pattern_may_be_anywhere_in_the_name(pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = {line.split()[0] for line in _listed(pattern, capsys)}
    assert {"keras:ResNet101V2", "keras:InceptionResNetV2"} <= names
    assert ("resnet50v2" in names) == (pattern == "RESNET*v2")
    assert not {"resnet50", "keras:ResNet50"} & names


def test_what_was_downloaded_is_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
    weights = {line.split()[0]: line.split(" px  ")[1] for line in _listed("vgg1[69]", capsys)}
    assert weights == {
        "vgg16": "imagenet, downloaded",
        "keras:VGG16": "imagenet, downloaded",
        "keras:VGG19": "imagenet, to download",
    }


def test_presets_of_kerashub_are_listed_by_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _listed("dinov3*base", capsys)
    assert lines[0].split(maxsplit=4) == [
        "hub:dinov3_vit_base_lvd1689m",
        "86,000,000",
        "224",
        "px",
        "preset, to download",
    ]
    assert len(_listed("hub:", capsys)) == 140


def test_folders_are_listed_with_the_size_in_their_config(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, config in (
        ("keras", {"registered_name": "x", "config": {"patch_size": 16, "image_shape": [96, 96, 3]}}),
        ("timm", {"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 160, 128]}}),
        ("transformers", {"model_type": "vit", "image_size": 64}),
        ("unknown", {"config": {"image_shape": [None, None, 3]}}),
    ):
        Path("data/backbones", name).mkdir(parents=True)
        Path("data/backbones", name, "config.json").write_text(json.dumps(config), encoding="utf-8")
    sizes = {line.split()[0].split("/")[-1]: line.split()[1:] for line in _listed("data/backbones", capsys)}
    assert {name: size for name, (size, *_) in sizes.items()} == {
        "keras": "96", "timm": "128", "transformers": "64", "unknown": "224",
    }  # fmt: skip
    assert sizes["keras"][1:] == ["px", "in", "the", "folder"]


def test_none_is_an_error() -> None:
    with pytest.raises(UserError, match=r"no backbone has 'resnest' in its name; python -m transfer backbones lists"):
        main("resnest")


def test_keras_is_not_loaded() -> None:
    code = (
        "import sys\nfrom transfer.backbones import main\nmain()\nassert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
