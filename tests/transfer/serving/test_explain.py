"""Tests of transfer/serving/explain.py: pictures of what a classifier looks at."""

from pathlib import Path

import pytest
from PIL import Image

from tests.transfer.conftest import CLASSES, Exported, images_of
from transfer import __main__
from transfer.core.errors import UserError
from transfer.dataset.decode import make_square


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
    assert _run(monkeypatch, "--model", str(exported.folder), "--out", str(out), str(tmp_path / "a")) == 0
    assert (out / "x-3.png").read_bytes() == (out / "x.png").read_bytes()


def test_the_map_lies_over_the_square_that_the_classifier_sees(
    exported_grey: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = Image.fromarray(images_of(1, 1, (40, 120))[0, ..., 0])
    pictures = []
    for name, image in (("long", photo), ("square", make_square(photo, 32, "pad"))):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "x.png")
        out = ("--out", str(tmp_path / name / "out"))
        assert _run(monkeypatch, "--model", str(exported_grey.folder), *out, str(tmp_path / name / "x.png")) == 0
        pictures.append((tmp_path / name / "out/x.png").read_bytes())
    assert pictures[0] == pictures[1]


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


def test_no_file_that_is_there_is_written_over(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the image itself, where --out is its folder, nor what an earlier call has made of another one."""
    for name, pixels in zip(("u/a.png", "v/a.png"), images_of(2, 3), strict=True):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(pixels).save(tmp_path / name)
    given = (tmp_path / "u/a.png").read_bytes()
    for image in ("u/a.png", "v/a.png"):
        arguments = ("--model", str(exported.folder), "--out", str(tmp_path / "u"))
        assert _run(monkeypatch, *arguments, str(tmp_path / image)) == 0
    assert (tmp_path / "u/a.png").read_bytes() == given
    said = [line.rsplit(": ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert said == [str(tmp_path / "u" / name) for name in ("a-2.png", "a-3.png")]
    assert (tmp_path / "u/a-2.png").read_bytes() != (tmp_path / "u/a-3.png").read_bytes()
