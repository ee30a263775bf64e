"""Tests of transfer/explanation.py: a map shows what a classifier really looks at."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit

from tests.transfer.conftest import CLASSES, Exported, images_of
from transfer import __main__
from transfer.errors import UserError
from transfer.explanation import _starts, occlusion_map
from transfer.images import Pixels

SIZE = 56
SPOT = (slice(8, 16), slice(32, 40))


def _looks_at_the_spot(images: Pixels) -> NDArray[np.float32]:
    """Two classes; the log-odds of the second are the difference of the spot's brightness from the image's, in tens."""
    values = images.astype(np.float64)
    odds = (values[:, *SPOT].mean(axis=(1, 2, 3)) - values.mean(axis=(1, 2, 3))) / 10
    return np.stack([expit(-odds), expit(odds)], axis=1).astype(np.float32)


@pytest.fixture
def image() -> Pixels:
    """Dark, with a bright spot."""
    pixels = np.random.default_rng(0).integers(60, 70, (SIZE, SIZE, 1)).astype(np.uint8)
    pixels[SPOT] = 160
    return pixels


def test_the_place_that_a_classifier_looks_at_stands_out(image: Pixels) -> None:
    falls = occlusion_map(_looks_at_the_spot, image, 1)
    assert falls.shape == (SIZE, SIZE)
    elsewhere = np.ones((SIZE, SIZE), bool)
    elsewhere[0:24, 24:48] = False  # where windows lie that touch the spot
    assert falls[SPOT].min() > 3
    assert np.abs(falls[elsewhere]).max() < 0.1


def test_what_speaks_for_one_of_two_classes_speaks_against_the_other(image: Pixels) -> None:
    np.testing.assert_allclose(
        occlusion_map(_looks_at_the_spot, image, 0), -occlusion_map(_looks_at_the_spot, image, 1), atol=1e-2
    )


def test_a_classifier_that_is_sure_still_has_reasons(image: Pixels) -> None:
    """Here its probability is 1 - 1e-4, and hardly falls."""
    assert _looks_at_the_spot(image[None])[0, 1] > 0.999
    assert occlusion_map(_looks_at_the_spot, image, 1).max() > 3


def test_windows_cover_every_pixel() -> None:
    for size, window in ((224, 32), (32, 5), (7, 1), (3, 1), (225, 32)):
        starts = _starts(size, window)
        assert starts[0] == 0
        assert starts[-1] + window == size
        assert max(np.diff(starts), default=0) <= -(-window // 2)


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr("sys.argv", ["transfer", "explain", *arguments])
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    return caught.value.code


def test_a_picture_is_written_for_each_image_and_none_over_another(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, pixels in zip(("a/x.png", "b/x.png", "b/$y$.jpg"), images_of(3, 3, (40, 60)), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "b/z.png").write_text("no image", encoding="utf-8")
    out = tmp_path / "out"
    status = _run(
        monkeypatch, "--model", str(exported.folder), "--out", str(out), str(tmp_path / "a"), str(tmp_path / "b")
    )
    assert status == 3
    assert sorted(path.name for path in out.iterdir()) == ["$y$.png", "x-2.png", "x.png"]
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 3
    assert f"could not be read: 1 of 4 images\n  {tmp_path}/b/z.png: " in printed.err
    with Image.open(out / "x.png") as one, Image.open(out / "x-2.png") as other:
        assert one.size[0] > 600
        assert one.tobytes() != other.tobytes()
    before = (out / "x.png").read_bytes()
    assert _run(monkeypatch, "--model", str(exported.folder), "--out", str(out), str(tmp_path / "a")) == 0
    assert (out / "x.png").read_bytes() == before


def test_another_class_can_be_asked_for(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(images_of(1, 3)[0]).save(tmp_path / "x.png")
    arguments = ("--model", str(exported.folder), "--out", str(tmp_path / "out"), str(tmp_path / "x.png"))
    for number, name in enumerate(CLASSES):
        assert _run(monkeypatch, *arguments, "--class", name) == 0
        expected = exported.keras(images_of(1, 3))[0, number]
        said = capsys.readouterr().out.split(f": {name} ")[1].split(":")[0]
        assert float(said) == pytest.approx(expected, abs=1e-4)


def test_a_class_that_there_is_not_is_an_error(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(images_of(1, 3)[0]).save(tmp_path / "x.png")
    monkeypatch.setattr(
        "sys.argv", ["x", "explain", "--model", str(exported.folder), str(tmp_path / "x.png"), "--class", "cat"]
    )
    with pytest.raises(UserError, match=r"--class: expected one of blue, light, red, .*'cat'"):
        __main__.main()
