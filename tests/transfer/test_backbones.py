"""Tests of transfer/backbones.py."""

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
    lines = _listed("", capsys)
    assert [line.split()[0] for line in lines] == list(FACTS)
    assert len({line.index(" px ") for line in lines}) == 1, "columns"
    assert lines[0].split(maxsplit=4)[1:] == ["3,413,024", "224", "px", "packaged, installed"]


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
    weights = {line.split()[0]: line.split(" px  ")[1] for line in _listed("vgg", capsys)}
    assert weights == {
        "vgg16": "imagenet, downloaded",
        "keras:VGG16": "imagenet, downloaded",
        "keras:VGG19": "imagenet, to download",
    }


def test_none_is_an_error() -> None:
    with pytest.raises(UserError, match=r"no backbone has 'resnest' in its name; python -m transfer backbones lists"):
        main("resnest")


def test_keras_is_not_loaded() -> None:
    code = (
        "import sys\nfrom transfer.backbones import main\nmain()\nassert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
