"""A backbone in a folder through the stages, of which only weights reads the folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.hub_families import SIZE, write
from tests.conftest import RunStage
from transfer.core.errors import UserError
from transfer.training.checkpoints import Checkpoint, TrainingState


@pytest.mark.slow
def test_a_backbone_in_a_folder_is_trained_and_evaluated_without_the_folder(
    project: Path, run_stage: RunStage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("ViT", Path("data/backbones/small"))
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params |= {"backbone": "data/backbones/small", "image_size": "auto", "weights": "auto"}
    params["finetune"]["cut"] = "block9"
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for stage in ("download", "weights", "preprocess"):
        run_stage(stage)
    said = capsys.readouterr().out
    assert f"data/backbones/small (SHA-256 of the weights {_described()['sha256']})" in said
    assert f"       weights: {{sha256: {_described()['sha256']}}} in params.yaml" in said
    shutil.rmtree("data/backbones")
    params["image_size"] = SIZE  # which was the folder's own
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with pytest.raises(UserError, match=r"a cut of data/backbones/small \(input, stem, block1, .*top\), .*'block9'"):
        run_stage("embed")
    params["finetune"]["cut"] = "auto"
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for stage, *arguments in (("embed",), ("train_head",), ("finetune",), ("evaluate", "finetuned")):
        run_stage(stage, *arguments)
    assert json.loads(Path("data/activations/finetune/cached.json").read_text(encoding="utf-8"))["cut"] == "block2"
    assert json.loads(Path("models/finetuned.json").read_text(encoding="utf-8"))["backbone"] == _described()
    assert json.loads(Path("metrics/evaluate/finetuned.json").read_text(encoding="utf-8"))["accuracy"] == 1.0
    assert _lora(params, run_stage, monkeypatch) == 1.0


def _lora(params: dict[str, Any], run_stage: RunStage, monkeypatch: pytest.MonkeyPatch) -> float:
    """Train low-rank updates at a stretch, and then with a break; return the accuracy."""
    full = json.loads(Path("metrics/train/finetuned.json").read_text(encoding="utf-8"))
    params["finetune"] |= {"method": "lora", "averaging": 0.9, "epochs": 3}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    run_stage("finetune")
    weights = Path("models/finetuned.weights.h5").read_bytes()
    monkeypatch.setattr(Checkpoint, "due", lambda _: True)
    write = Checkpoint.write

    def write_and_break(checkpoint: Checkpoint, state: TrainingState) -> None:
        write(checkpoint, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "write", write_and_break)
        with pytest.raises(KeyboardInterrupt):
            run_stage("finetune")
    run_stage("finetune")
    assert json.loads(Path("metrics/cost/train-finetuned.json").read_text("utf-8"))["resumed_after_epoch"] == 1
    assert Path("models/finetuned.weights.h5").read_bytes() == weights
    trained = json.loads(Path("metrics/train/finetuned.json").read_text(encoding="utf-8"))
    assert trained["parameters"] == full["parameters"]
    assert trained["trainable"] != full["trainable"]
    run_stage("evaluate", "finetuned")
    return float(json.loads(Path("metrics/evaluate/finetuned.json").read_text(encoding="utf-8"))["accuracy"])


def _described() -> dict[str, object]:
    found: dict[str, dict[str, object]] = json.loads(Path("models/backbone.json").read_text(encoding="utf-8"))
    return found["backbone"]
