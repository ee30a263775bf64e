"""Tests of transfer/__init__.py: settings that TensorFlow reads when it is imported."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ASK = "import os, transfer; print(os.environ['TF_ENABLE_ONEDNN_OPTS'], os.environ['KERAS_BACKEND'])"


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "1 tensorflow"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0 tensorflow")]
)
def test_one_dnn_is_on_unless_the_user_turns_it_off(given: dict[str, str], expected: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND")}
    answer = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env={**kept, **given}, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == expected
