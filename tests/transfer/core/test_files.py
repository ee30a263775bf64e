"""Tests of transfer/core/files.py."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from transfer.core.errors import UserError
from transfer.core.files import require_space, written_whole


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder/figures.json"
    with written_whole(path) as part:
        part.write_text("new", encoding="utf-8")
        assert not path.exists()
        assert (part.parent, part.suffix) == (path.parent, path.suffix)
    assert path.read_text(encoding="utf-8") == "new"
    assert _names(path.parent) == ["figures.json"]


def _write_and_fail(path: Path) -> None:
    with written_whole(path) as part:
        part.write_text("ne", encoding="utf-8")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_after_an_error_there_is_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(OSError, match="No space left"):
        _write_and_fail(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert _names(tmp_path) == ["figures.json"]


def test_what_a_crash_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".part-figures.json").write_text("much more than is written now", encoding="utf-8")
    with written_whole(tmp_path / "figures.json") as part:
        part.write_text("new", encoding="utf-8")
    assert (tmp_path / "figures.json").read_text(encoding="utf-8") == "new"
    assert _names(tmp_path) == ["figures.json"]


def test_a_link_into_a_cache_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    cached, path = tmp_path / "cached", tmp_path / "figures.json"
    cached.write_text("kept", encoding="utf-8")
    os.link(cached, path)
    with written_whole(path) as part:
        part.write_text("new", encoding="utf-8")
    assert (cached.read_text(encoding="utf-8"), path.read_text(encoding="utf-8")) == ("kept", "new")


def test_too_little_room_is_an_error_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5_000_000))
    require_space(5_000_000, tmp_path)
    with pytest.raises(UserError, match=r"No space left on device: 6.2 MB are needed, 5.0 MB are free; less"):
        require_space(6_200_000, tmp_path, "; less")


def test_two_writers_of_one_file_do_no_harm(tmp_path: Path) -> None:
    place = tmp_path / "file"

    def break_off() -> None:
        with written_whole(place, shared=True) as part:
            part.write_text("half", encoding="utf-8")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        break_off()
    assert list(tmp_path.iterdir()) == []
    with written_whole(place, shared=True) as one, written_whole(place, shared=True) as other:
        assert len({one, other, place}) == 3
        other.write_text("whole", encoding="utf-8")
        one.write_text("whole", encoding="utf-8")
        assert not place.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert place.read_text(encoding="utf-8") == "whole"
