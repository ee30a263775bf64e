"""Tests of transfer/choose.py."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from tests.conftest import SMALL, RunStage
from tests.transfer.test_linear_probe import spoil
from transfer import choose
from transfer.choose import Judged, advice, compare_best, lines, names_here, tabulate, verdict, with_backbone
from transfer.core.errors import UserError
from transfer.core.params import Params, read_params
from transfer.linear_probe import Features
from transfer.networks.backbones import registry
from transfer.networks.backbones.weights import PackagedWeights
from transfer.overrides import merged

LITES = [f"efficientnet_lite{number}" for number in range(3)]


@pytest.fixture
def preprocessed(project: Path, run_stage: RunStage, tiny_backbone: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny backbone by two names; the weights of the third are of a package that is not there."""
    for name in ("download", "preprocess"):
        run_stage(name)
    tiny = registry.BACKBONES["efficientnet_lite0"]
    packaged = tiny.weights["packaged"]
    assert isinstance(packaged, PackagedWeights)
    missing = replace(tiny, weights={"packaged": replace(packaged, package="no-such-package")})
    monkeypatch.setitem(registry.BACKBONES, "efficientnet_lite1", tiny)
    monkeypatch.setitem(registry.BACKBONES, "efficientnet_lite2", missing)
    return project


def test_it_judges_on_the_training_images_alone(preprocessed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil({"test", "validation"})
    for split in ("train", "validation", "test"):
        shutil.rmtree(f"data/records/{split}")
    choose.main([])
    said = capsys.readouterr()
    assert "warning: efficientnet_lite2 is left out: " in said.err
    assert "no-such-package" in said.err
    assert "read   data/raw: 24 training images of data/splits.csv" in said.out
    assert "efficientnet_lite0 and efficientnet_lite1 cannot be told apart: both are right about the same images" in (
        said.out
    )
    assert "to go on with the best: dvc exp run -S backbone=efficientnet_lite0\n" in said.out
    table = pd.read_csv("plots/choose.csv").set_index("backbone")
    assert list(table.index) == LITES[:2]
    assert list(table["accuracy"]) == list(table["accuracy_low"]) == [1.0, 1.0]
    assert (table["log_loss"] < 0.1).all()
    assert (table["image_size"] == 32).all()
    with Image.open("plots/choose.png") as picture:
        assert picture.size == (800, 450)


def test_a_second_call_computes_only_what_is_new(preprocessed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choose.main(LITES[:1])
    (kept,) = Path(".dvc/tmp/choose").iterdir()
    before = kept.stat().st_mtime_ns
    capsys.readouterr()
    choose.main(LITES[:2])
    said = capsys.readouterr().out
    assert "embed  efficientnet_lite0: 16 features at 32 px, from an earlier call" in said
    assert "embed  efficientnet_lite1: 16 features at 32 px, 0." in said
    assert said.count("from an earlier call") == 1
    assert kept.stat().st_mtime_ns == before
    assert len(list(kept.parent.iterdir())) == 2


def test_none_that_is_left_is_an_error(preprocessed: Path) -> None:
    with pytest.raises(UserError, match="no backbone is left; name others"):
        choose.main(LITES[2:])


def test_a_wrong_name_is_an_error_before_any_work(project: Path) -> None:
    with pytest.raises(UserError, match="did you mean keras:ResNet50"):
        choose.main([*LITES, "keras:resnet50"])


def test_one_at_hand_that_the_params_do_not_suit_is_left_out(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choose, "names_here", lambda: ["efficientnet_lite0", "keras:InceptionV3"])
    assert list(choose.read_candidates([])) == ["efficientnet_lite0"]
    assert "keras:InceptionV3 is left out: params.yaml with backbone=keras:InceptionV3: expected image_size" in (
        capsys.readouterr().err
    )


def test_those_at_hand_are_packaged_or_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert names_here() == LITES
    (tmp_path / "models").mkdir()
    (tmp_path / "models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
    assert names_here() == [*LITES, "vgg16"], "and not keras:VGG16, which is the same"
    monkeypatch.setattr(choose, "at_hand", lambda _: "imagenet, to download")
    with pytest.raises(UserError, match="no backbone has its weights on this machine"):
        names_here()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"weights": "auto", "finetune": {"cut": "auto"}}, {}),
        ({"weights": "packaged", "finetune": {"cut": "block3"}}, {"weights": "auto", "finetune": {"cut": "auto"}}),
        ({"weights": "none", "finetune": {"cut": "input"}}, {}),
        ({"weights": "none", "finetune": {"cut": "input"}, "pixels": {"mean": [0], "std": [1]}}, {"pixels": None}),
    ],
)
def test_what_is_meant_for_another_backbone_is_not_kept(given: dict[str, object], expected: dict[str, object]) -> None:
    params = merged(SMALL, given, "tests")
    assert with_backbone(params, "efficientnet_lite0") == params
    assert with_backbone(params, "vgg16") == merged(params, {"backbone": "vgg16", **expected}, "tests")


def _judged(params: Params, right: str, milliseconds: float, loss: float = 0.5) -> Judged:
    features = Features(np.zeros((len(right), 2), np.float32), 12.34, milliseconds / 1e3, 3_413_024, "openvino")
    return Judged(params, features, np.array([letter == "1" for letter in right]), loss)


def test_what_is_shown_and_how_to_go_on(project: Path) -> None:
    params = read_params(Path("params.yaml"))
    judged = {
        "vgg16": _judged(params, "1" * 38 + "00", 20),
        "resnet50": _judged(params, "1" * 36 + "0011", 5),
        "efficientnet_lite0": _judged(params, "1" * 20 + "0" * 20, 2),
    }
    pairs = compare_best(judged)
    equal, better = map(verdict, pairs)
    assert equal.startswith("vgg16 is not shown to be better than resnet50: +0.0 (")
    assert equal.endswith(" points of accuracy, p = 1")
    assert better.startswith("vgg16 is better than efficientnet_lite0: +45.0 (+")
    assert better.endswith(" points of accuracy, p = 2.3e-05"), "3 / 2^17 of three pairs"
    file = yaml.safe_dump(SMALL | {"weights": "packaged"})
    Path("params.yaml").write_text(file, encoding="utf-8")
    assert advice(judged, pairs) == [
        "to go on with the best: dvc exp run -S backbone=vgg16 -S finetune.cut=auto -S weights=auto",
        "cheaper, and not shown to be worse: dvc exp run -S backbone=resnet50 -S finetune.cut=auto -S weights=auto",
    ]
    assert advice({"efficientnet_lite0": judged["efficientnet_lite0"]}, []) == [
        "to go on with the best: dvc exp run -S backbone=efficientnet_lite0"
    ]
    assert compare_best({"vgg16": judged["vgg16"]}) == []


def test_the_table_has_columns(project: Path) -> None:
    params = read_params(Path("params.yaml"))
    table = tabulate({"vgg16": _judged(params, "1110", 20), "efficientnet_lite0": _judged(params, "1100", 1.234)})
    head, first, second = lines(table)
    assert len({len(line) for line in (head, first, second)}) == 1
    assert first.split()[:4] == ["vgg16", "32", "px", "0.750"]
    assert second.split()[-6:] == ["0.500", "12.3", "s", "3,413,024", "1.23", "ms"]
