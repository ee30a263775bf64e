"""Tests of transfer/evaluation/prediction_cost.py and transfer/core/cost.py."""

import re
from pathlib import Path

import keras
import numpy as np
import openvino
import pytest
from keras import layers

from transfer.core.cost import measured, peak_memory
from transfer.core.files import read_json
from transfer.evaluation.prediction_cost import measure
from transfer.inference.engines import to_openvino


def test_prediction_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    entry = keras.Input((16, 16, 3))
    model = keras.Model(entry, layers.Softmax()(layers.Dense(2)(layers.Flatten()(entry))))
    openvino.save_model(to_openvino(model), tmp_path / "model.xml", compress_to_fp16=False)
    ballast = np.ones(300_000_000 // 8)  # this process is large, and that one must not be
    cost = measure("openvino", [tmp_path / "model.xml"], views=1)
    memory, one, many = (
        cost["peak_memory_bytes"],
        cost["seconds_per_image_batch_1"],
        cost["seconds_per_image_batch_32"],
    )
    assert isinstance(memory, int)
    assert isinstance(one, float)
    assert isinstance(many, float)
    assert 30e6 < memory < peak_memory() - ballast.nbytes / 2
    assert 0 < many < 0.1
    assert 0 < one < 0.1


def test_a_measuring_process_that_fails_is_a_warning_that_says_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure("openvino", [tmp_path / "missing.xml"], views=1) == {}
    said = capsys.readouterr().err
    assert re.search(r"WARNING: prediction with openvino: measuring it failed, exit status 1: .*missing\.xml", said)
    assert "dvc repro -s -f STAGE" in said


def test_a_measuring_process_that_is_killed_is_a_warning_that_guesses_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    killed.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(killed))
    assert measure("openvino", [tmp_path / "model.xml"], views=1) == {}
    assert "measuring it failed, signal 9; it may have been out of memory" in capsys.readouterr().err


def test_seconds_before_a_break_count(tmp_path: Path) -> None:
    with measured(tmp_path / "cost.json") as cost:
        cost["seconds_before"] = 100.0
    written = read_json(tmp_path / "cost.json")
    assert set(written) == {"seconds", "peak_memory_bytes"}
    assert 100 <= written["seconds"] < 101


def test_cost_has_seconds_memory_and_what_was_added(tmp_path: Path) -> None:
    with measured(tmp_path / "cost.json") as cost:
        cost["images"] = 3
    written = read_json(tmp_path / "cost.json")
    assert set(written) == {"seconds", "peak_memory_bytes", "images"}
    assert 0 <= written["seconds"] < 1
    assert written["images"] == 3
