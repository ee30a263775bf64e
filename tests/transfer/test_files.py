"""Tests of transfer/files.py."""

import errno
import os
from pathlib import Path

import pytest

from transfer.files import require_space, written_whole


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


def test_too_little_room_is_what_the_system_would_say(tmp_path: Path) -> None:
    require_space(tmp_path / "weights.h5", 1)
    with pytest.raises(OSError, match=r"No space left on device: '.*weights.h5'"):
        require_space(tmp_path / "weights.h5", 1 << 60)
