"""All stages one after the other on tiny images and a tiny backbone: the real thing, made small."""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT, RunStage
from transfer.core.errors import UserError
from transfer.core.spec import Spec
from transfer.evaluation.judge import Evaluator, check_cached_path
from transfer.export.calibrated import Calibrated
from transfer.export.classifiers import choose_format, open_classifier
from transfer.export.exporters import write_onnx
from transfer.export.formats import FORMATS
from transfer.networks.model_files import load
from transfer.serving.arguments import find_images
from transfer.serving.predict import predict
from transfer.training.checkpoints import Checkpoint, TrainingState
from transfer.workers.runners import LocalRunner

CHAIN = [
    ("download",), ("weights",), ("preprocess",), ("embed",), ("train_baseline", "ann"),
    ("train_baseline", "cnn"), ("train_head",), ("finetune",), ("evaluate", "ann"), ("evaluate", "cnn"),
    ("evaluate", "head"), ("evaluate", "finetuned"), ("compare",),
    ("export",),
]  # fmt: skip


EXPORTED = ["openvino", "onnx", "saved_model", "litert_float32", "litert_float16", "litert_int8"]


def _json(path: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(Path(path).read_text(encoding="utf-8"))
    return value


def test_the_whole_chain_learns_two_colours(
    project: Path, tiny_backbone: None, run_stage: RunStage, capsys: pytest.CaptureFixture[str]
) -> None:
    _set(export={"formats": EXPORTED})
    for name, *arguments in CHAIN:
        capsys.readouterr()
        run_stage(name, *arguments)
        printed = capsys.readouterr().out
        assert "read " in printed, name
        assert "wrote " in printed, name
    for model in ("ann", "cnn", "head", "finetuned"):
        scores = _json(f"metrics/evaluate/{model}.json")
        assert scores["accuracy"] == 1.0, (model, scores)
        table = pd.read_csv(f"plots/predictions/{model}.csv")
        assert len(table) == 12
        assert scores["log_loss_calibrated"] is not None
        reliability = pd.read_csv(f"plots/reliability/{model}.csv")
        assert reliability["images_before"].sum() == reliability["images_after"].sum() == 12
        assert list(table["actual"]) == list(table["predicted"])
        curve = pd.read_csv(f"plots/history/{model}/plots/metrics/validation/loss.tsv", sep="\t")
        assert len(curve) == {"head": 25, "finetuned": 2}.get(model, 8)
    assert _json("metrics/data.json")["splits"] == {"train": 24, "validation": 12, "test": 12}
    report = Path("metrics/REPORT.md").read_text(encoding="utf-8")
    assert "`finetuned` and `head` cannot be told apart by accuracy: both are right about the same test" in report
    assert "None, as the card names no positive class" in report
    assert "may be as low as 0.779 (exact binomial, 95 %)" in report  # 12 test images, all right: 0.05^(1/12)
    performance = pd.read_csv("plots/performance_table.csv").set_index("model")
    head = _json("metrics/cost/train-head.json")["seconds"]
    embed = _json("metrics/cost/embed.json")["seconds"]
    assert isinstance(head, float)
    assert isinstance(embed, float)
    assert performance.loc["head", "training_s"] == pytest.approx(head + embed, abs=0.06)
    assert performance.loc["head", "trainable"] == 16 * 8 + 8 + 8 * 2 + 2
    _assert_only_what_is_above_the_cut_changed("block1")
    _assert_the_export_says_what_the_winner_says()


def _assert_the_export_says_what_the_winner_says() -> None:
    """From the figures, and from images of the dataset, run anew."""
    winner = _json("metrics/compare.json")["winner"]
    figures = _json("metrics/export.json")
    assert figures["model"] == winner
    assert figures["images"] == 12
    found = figures["formats"]
    assert isinstance(found, dict)
    assert list(found) == EXPORTED
    cost, table = _json("metrics/export-cost.json"), Path("metrics/EXPORT.md").read_text(encoding="utf-8")
    classifier = open_classifier(Path("models/export"))
    assert classifier.contract.model == winner
    assert classifier.contract.temperature == _json(f"metrics/evaluate/{winner}.json")["temperature"]
    for name, values in found.items():
        assert values["agreement"] == 1, name
        assert cost[name]["peak_memory_bytes"] > 1e7  # type: ignore[index]
        assert cost[name]["images_per_second_batch_32"] > 0  # type: ignore[index]
        assert f"| `{name}`: {FORMATS[name].place} |" in table
    has_base = "base_model: timm/tf_efficientnet_lite0.in1k" in Path("models/export/README.md").read_text(
        encoding="utf-8"
    )
    assert has_base == (winner in ("head", "finetuned"))
    images = list(find_images(["pictures"]))
    assert len(images) == 48
    for prediction in predict(classifier, images, batch=10):
        assert prediction.probabilities is not None
        assert classifier.contract.classes[prediction.probabilities.argmax()] == Path(prediction.image).parent.name


def test_download_says_how_it_read_the_folders(
    project: Path, run_stage: RunStage, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("pictures", "again/eval")
    Path("pictures").rename("again/train")
    Path("again").rename("pictures")
    Path("pictures/New folder").mkdir()
    run_stage("download")
    lines = capsys.readouterr().out.splitlines()
    assert "       read as splits: eval (test), train (train)" in lines
    assert "       left out, without images: New folder" in lines


def _assert_only_what_is_above_the_cut_changed(cut: str) -> None:
    """Compare the fine-tuned weights with those of the model that fine-tuning started from."""
    before = load(Path("models/head.json"), Path("models/head.weights.h5"))
    after = load(Path("models/finetuned.json"), Path("models/finetuned.weights.h5"))

    def layer(model: keras.Model, name: str) -> list[np.ndarray]:
        weights: list[np.ndarray] = model.get_layer(name).get_weights()
        return weights

    below = {"block1": ["block1_conv", "block1_bn"], "input": []}[cut]
    for name in below:
        for one, other in zip(layer(before.whole, name), layer(after.whole, name), strict=True):
            np.testing.assert_array_equal(one, other)
    convolutions = {"block1_conv", "block2_depthwise_conv", "block2_project_conv", "top_conv"}
    for name in convolutions.difference(below):
        assert not np.array_equal(layer(before.whole, name)[0], layer(after.whole, name)[0]), name
    for name in {"block1_bn", "block2_depthwise_bn", "block2_project_bn", "top_bn"}.difference(below):
        gamma, beta, mean, variance = range(4)
        old, new = layer(before.whole, name), layer(after.whole, name)
        assert not np.array_equal(old[gamma], new[gamma]), name
        assert not np.array_equal(old[beta], new[beta]), name
        np.testing.assert_array_equal(old[mean], new[mean])
        np.testing.assert_array_equal(old[variance], new[variance])


@dataclass(frozen=True)
class Made:
    """Brings the working directory to where stages leave it; they run once, and what they leave is copied later."""

    kept: Path
    run_stage: RunStage

    def __call__(self, state: str, *stages: tuple[str, ...]) -> None:
        kept = self.kept / state
        if not kept.exists():
            for name, *arguments in stages:
                self.run_stage(name, *arguments)
            shutil.copytree(".", kept)
        shutil.copytree(kept, ".", dirs_exist_ok=True)


@pytest.fixture
def made(run_stage: RunStage, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.getbasetemp() / "made", run_stage)


@pytest.fixture
def preprocessed(project: Path, tiny_backbone: None, made: Made) -> None:
    """The project after preprocess."""
    made("preprocessed", *CHAIN[:3])


@pytest.fixture
def trained_ann(preprocessed: None, made: Made) -> None:
    """The project with the smallest of its models."""
    made("trained_ann", ("train_baseline", "ann"))


@pytest.fixture
def trained_head(preprocessed: None, made: Made) -> None:
    """The project with a head that is trained a little."""
    _set(head={"epochs": 4})
    made("trained_head", ("embed",), ("train_head",))


@pytest.mark.slow
def test_a_format_that_says_something_else_is_left_out(preprocessed: None, run_stage: RunStage) -> None:
    _set(export={"formats": ["onnx", "litert_float16"]})
    for model in ("ann", "cnn"):
        run_stage("train_baseline", model)
        run_stage("evaluate", model)
    compared = '{"winner": "cnn", "intervals": {"cnn": {"accuracy": 0.5, "f1": 0.5}}, "subgroups": []}'
    Path("metrics/compare.json").write_text(compared, encoding="utf-8")
    run_stage("export")
    written = sorted(path.name for path in Path("models/export").rglob("*.*"))
    assert written == ["README.md", "float16.tflite", "model.onnx"]
    assert "| accuracy | 0.500 |" in Path("models/export/README.md").read_text(encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("transfer.export.write.write_litert", lambda network, path, *_: path.write_bytes(b"bad"))
        run_stage("export")
    assert sorted(path.name for path in Path("models/export").rglob("*.*")) == ["README.md", "model.onnx"]
    assert "litert_float16" not in Path("models/export/README.md").read_text(encoding="utf-8")
    said = Path("metrics/EXPORT.md").read_text(encoding="utf-8").splitlines()[-1]
    assert said.startswith("`litert_float16` was left out: models/export/litert/float16.tflite: expected a classifier")
    assert said.endswith("; use `onnx`.")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("transfer.export.write.write_onnx", _write_another_model)
        run_stage("export")
        assert choose_format(Path("models/export")) == "litert_float16"
        patched.setattr("transfer.export.write.write_litert", lambda network, path, *_: path.write_bytes(b"bad"))
        with pytest.raises(UserError, match=r"export: no format .* \(onnx: its prob.*; litert_float16: models/"):
            run_stage("export")


def _write_another_model(network: Calibrated, path: Path) -> None:
    """Write one whose probabilities are less extreme than they should be."""
    other = copy.copy(network)
    other.contract = replace(network.contract, temperature=5 * network.contract.temperature)
    write_onnx(other, path)


def _set(**changes: Any) -> None:
    """Change params.yaml; a section is given as a dict of what changes in it."""
    path = Path("params.yaml")
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        params[key] = {**params[key], **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(params), encoding="utf-8")


LABELS = ["train/labels.npy", "train/soft_labels.npy"]
CACHED = {
    ("cached", "block1"): ["cached.json", *LABELS, "train/view-0.npy", "train/view-1.npy"],
    ("none", "block1"): ["cached.json", *LABELS, "train/view-0.npy"],
    ("on_the_fly", "block1"): ["cached.json"],
}
VALIDATION = ["validation/labels.npy", "validation/soft_labels.npy", "validation/view-0.npy"]
SAID = {
    ("cached", "block1"): "cached activations at the cut block1; a random one of 2 views of each image; finetune.augm",
    ("none", "block1"): "cached activations at the cut block1; each image as it is; finetune.augmentation has no eff",
    ("on_the_fly", "block1"): "pixels: the trunk below block1 runs in every step; a random one of 2 views of each im",
    ("cached", "input"): "pixels: the whole network runs in every step; a random one of 2 views of each image; finet",
    ("none", "input"): "pixels: the whole network runs in every step; each image as it is; finetune.augmentation has",
    ("on_the_fly", "input"): "pixels: the whole network runs in every step; a random one of 2 views of each image and",
}


@pytest.mark.slow
@pytest.mark.parametrize("cut", ["block1", "input"])
@pytest.mark.parametrize("augment", ["cached", "none", "on_the_fly"])
def test_fine_tuning_learns_above_the_cut_whatever_it_is_fed(
    augment: str, cut: str, trained_head: None, run_stage: RunStage, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = Path("data/records/spec.json")
    spec.write_text(spec.read_text(encoding="utf-8").replace('"none"', '"mirror"'), encoding="utf-8")
    _set(finetune={"augment": augment, "cut": cut, "views": 2, "epochs": 4}, lr=5e-3)
    run_stage("embed")
    run_stage("finetune")
    assert f"train on {SAID[augment, cut]}" in capsys.readouterr().out
    folder = Path("data/activations/finetune")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert files == (["cached.json"] if cut == "input" else CACHED[augment, cut] + VALIDATION)
    before, after = (_json(f"metrics/train/{model}.json")["validation"] for model in ("head", "finetuned"))
    assert after["loss"] < 0.8 * before["loss"], (before, after)  # type: ignore[index]
    model = Evaluator(Path("models/finetuned.json"), Path("models/finetuned.weights.h5"), "tensorflow")
    (whole,) = model.predict(LocalRunner(), Path("data/records/validation"), Spec.read(spec), views=1)
    one, other = model.predict(LocalRunner(), Path("data/records/validation"), Spec.read(spec), views=2)
    np.testing.assert_array_equal(one.probabilities, whole.probabilities)
    assert not np.array_equal(one.probabilities, other.probabilities)
    assert whole.accuracy() == other.accuracy() == 1.0
    check_cached_path(whole, Path("models/finetuned.validation.npy"))  # raises where the two differ
    _assert_only_what_is_above_the_cut_changed(cut)


@pytest.mark.slow
def test_training_on_the_fly_twice_gives_the_same_bytes(trained_head: None, run_stage: RunStage) -> None:
    _set(finetune={"augment": "on_the_fly"}, class_weights="balanced")
    run_stage("embed")
    written = []
    for _ in range(2):
        run_stage("finetune")
        files = [*Path("models").glob("finetuned.*"), *Path("plots/history/finetuned").rglob("*.tsv")]
        written.append({str(path): path.read_bytes() for path in files})
    assert written[0] == written[1]
    assert len(written[0]) > 8


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["cached", "on_the_fly"])
def test_fine_tuning_that_was_cut_off_ends_with_the_same_bytes(
    augment: str, trained_head: None, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(finetune={"augment": augment, "epochs": 4, "averaging": 0.9})
    run_stage("embed")
    written = []
    monkeypatch.setattr("transfer.training.checkpoints.EVERY_S", 0)
    for cut_off in (False, True):
        if cut_off:
            with monkeypatch.context() as patched:
                patched.setattr(Checkpoint, "write", _then_interrupt(Checkpoint.write, 2))
                with pytest.raises(KeyboardInterrupt):
                    run_stage("finetune")
            assert Path(".checkpoints/finetuned.npz").exists()
            assert not Path("metrics/train/finetuned.json").exists()
        run_stage("finetune")
        assert not Path(".checkpoints").exists()
        files = [*Path("models").glob("finetuned.*"), *Path("plots/history/finetuned").rglob("*.tsv")]
        written.append({str(path): path.read_bytes() for path in [*files, Path("metrics/train/finetuned.json")]})
        cost = _json("metrics/cost/train-finetuned.json")
        assert cost.get("resumed_after_epoch") == (2 if cut_off else None)
        Path("metrics/train/finetuned.json").unlink()
    assert written[0] == written[1]


def _then_interrupt(write: Callable[..., None], times: int) -> Callable[..., None]:
    """Do as `write` does, and stop the process after so many times, as with Ctrl-C."""
    left = [times]

    def wrapped(self: Checkpoint, progress: TrainingState) -> None:
        write(self, progress)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    return wrapped


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """Read what a process says until its end, and return its status."""
    process.communicate()
    return process.returncode


TRAIN_ANN = """
import sys
import transfer.training.checkpoints
transfer.training.checkpoints.EVERY_S = 0
sys.argv = ["train_baseline", "ann"]
from stages.train_baseline import main
from transfer.core.errors import run
run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGKILL, -9, b""),
        (signal.SIGTERM, 143, b"error: terminated\n"),
        (signal.SIGINT, 130, b"error: interrupted\n"),
    ],
)
def test_a_training_that_was_ended_goes_on(
    number: int,
    status: int,
    said: bytes,
    preprocessed: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """In the middle of an epoch, or of writing a checkpoint."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["baselines"]["ann"]["epochs"] = 40
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", TRAIN_ANN], env=environment, stderr=subprocess.PIPE)

    process = start()
    deadline = time.monotonic() + 120
    while not Path(".checkpoints/ann.npz").exists():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=5)
    assert process.returncode == status
    assert errors.endswith(said)
    assert b"Traceback" not in errors
    if number != signal.SIGKILL:
        assert [path.name for path in Path(".checkpoints").iterdir()] == ["ann.npz"]
    assert not Path("models/ann.weights.h5").exists()
    assert _ended(start()) == 0
    assert 0 < _json("metrics/cost/train-ann.json")["resumed_after_epoch"] < 40  # type: ignore[operator]
    resumed = Path("models/ann.weights.h5").read_bytes()
    undisturbed = tmp_path_factory.getbasetemp() / "undisturbed.weights.h5"
    if not undisturbed.exists():
        assert _ended(start()) == 0
        assert "resumed_after_epoch" not in _json("metrics/cost/train-ann.json")
        shutil.copy("models/ann.weights.h5", undisturbed)
    assert undisturbed.read_bytes() == resumed


def test_more_views_than_the_symmetry_allows_are_an_error(trained_head: None, run_stage: RunStage) -> None:
    _set(finetune={"augment": "on_the_fly", "views": 4})
    for name in ("embed", "finetune"):
        with pytest.raises(UserError, match=r"finetune.views: expected at most 2, .*symmetry \(mirror\).*received 4"):
            run_stage(name)


def test_weights_of_unknown_classes_are_an_error(trained_head: None, run_stage: RunStage) -> None:
    params = Path("params.yaml")
    text = params.read_text(encoding="utf-8").replace("class_weights: auto", "class_weights: {blue: 1, green: 2}")
    params.write_text(text, encoding="utf-8")
    for name, *arguments in [("train_head",), ("train_baseline", "ann")]:
        with pytest.raises(UserError, match="class_weights: the classes are blue, red, and the weights are for "):
            run_stage(name, *arguments)


def test_a_head_on_a_backbone_without_training_may_collapse(
    trained_head: None, run_stage: RunStage, capsys: pytest.CaptureFixture[str]
) -> None:
    _set(head={"epochs": 1, "lr": 1e-7}, weights="none")
    run_stage("train_head")
    assert "COLLAPSED" in capsys.readouterr().out
    assert isinstance(_json("metrics/train/head.json")["collapsed"], str)


@pytest.mark.slow
def test_training_twice_gives_the_same_bytes(project: Path, tiny_backbone: None, run_stage: RunStage) -> None:
    for name, *arguments in CHAIN[:4]:
        run_stage(name, *arguments)
    written = []
    for _ in range(2):
        for name in ("embed", "train_head", "finetune"):
            run_stage(name)
        files = [*Path("models").glob("*"), *Path("data/activations").rglob("*.npy"), *Path("plots").rglob("*.tsv")]
        written.append({str(path): path.read_bytes() for path in files})
    assert written[0] == written[1]
    assert len(written[0]) > 15


def test_a_collapsed_head_is_an_error_that_says_so(trained_head: None, run_stage: RunStage) -> None:
    _set(head={"epochs": 1, "lr": 1e-7})
    with pytest.raises(UserError, match=r"head: no better than chance"):
        run_stage("train_head")


def test_a_damaged_model_is_an_error_that_names_it(trained_ann: None, run_stage: RunStage) -> None:
    weights = Path("models/ann.weights.h5")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"models/ann.weights.h5: damaged, or not the weights"):
        run_stage("evaluate", "ann")


def test_whole_network_and_training_path_must_agree(trained_ann: None, run_stage: RunStage) -> None:
    cached = Path("models/ann.validation.npy")
    np.save(cached, np.load(cached)[:, ::-1])
    with pytest.raises(UserError, match=r"models/ann.validation.npy: predictions from cached activations and from"):
        run_stage("evaluate", "ann")


def test_download_says_how_it_read_a_table(
    project: Path, run_stage: RunStage, capsys: pytest.CaptureFixture[str]
) -> None:
    images = sorted(path.relative_to("pictures") for path in Path("pictures").rglob("*.png"))
    rows = [f"./{image},{image.parent},{image.stem}\n" for image in images[1:]]
    Path("pictures/t.csv").write_text("image,label,patient\n" + "".join(rows), encoding="utf-8")
    card = "title: t\ntable: {file: t.csv, image: image, label: label, group: patient}\n"
    Path("pictures/card.yaml").write_text(card, encoding="utf-8")
    run_stage("download")
    printed = capsys.readouterr().out
    assert "wrote  data/raw: 48 images, 47 labels\n       23 blue, 24 red\n" in printed
    assert "\n       groups: 24, images in each: 1 to 2; images in none: 0\n" in printed
    assert (
        "\n       t.csv: rows that name their image by another path: 47 ('./blue/001.png' is blue/001.png)\n" in printed
    )
    assert "\n       t.csv: images without a row: 1 (blue/000.png), for quarantine\n" in printed
