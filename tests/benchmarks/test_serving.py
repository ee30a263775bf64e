"""Tests of benchmarks/serving.py: it measures a real server, and says what it measured."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import serving
from tests.transfer.conftest import export, images_of
from transfer.core.errors import UserError


def test_a_server_is_measured_beside_the_bare_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path / "export", 3, 1)
    images = [tmp_path / f"{number}.png" for number in range(32)]
    for path, pixels in zip(images, images_of(32, 3), strict=True):
        Image.fromarray(pixels).save(path)
    monkeypatch.setattr(serving, "ROUNDS", 1)
    found = serving.measure(tmp_path / "export", images)
    assert found["requests"] == 32
    by_clients = found["http_by_clients"]
    assert isinstance(by_clients, dict)
    assert list(by_clients) == ["1", "8", "32"]
    for measured in (found["bare_one_at_a_time"], *by_clients.values()):
        assert isinstance(measured, dict)
        assert 0 < measured["p50_ms"] <= measured["p95_ms"] < 10_000
    assert by_clients["32"]["p50_ms"] > by_clients["1"]["p50_ms"]
    (tmp_path / "bad.png").write_text("no image", encoding="utf-8")
    with (
        serving.served(tmp_path / "export") as address,
        pytest.raises(UserError, match=r"/predict: expected 200, received 422: .*received something else"),
    ):
        serving.ask(address, [tmp_path / "bad.png"])


def test_the_summary_is_of_all_rounds() -> None:
    assert serving.summary([([0.001, 0.002], 10.0), ([0.003], 30.0), ([0.004, 0.005], 20.0)]) == {
        "p50_ms": 3.0, "p95_ms": 4.8, "images_per_second": 20.0,
    }  # fmt: skip
