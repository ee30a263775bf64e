"""Tests of transfer/core/last_stage.py."""

import os
from pathlib import Path

import pytest

from transfer.core.last_stage import COPY, ENDED, LOCK, noted


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")
    COPY.parent.mkdir(parents=True)
    LOCK.write_text("before", encoding="utf-8")


def test_the_lock_file_is_copied_at_the_beginning_and_the_name_noted_at_the_end() -> None:
    ENDED.write_text("another", encoding="utf-8")
    with noted():
        assert not ENDED.exists()
        assert COPY.read_text(encoding="utf-8") == "before"
        assert "DVC_STAGE" not in os.environ  # so that no process of the stage notes itself
        LOCK.write_text("after", encoding="utf-8")
    assert (ENDED.read_text(encoding="utf-8"), COPY.read_text(encoding="utf-8")) == ("train", "before")


def test_a_stage_that_fails_has_not_ended() -> None:
    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError), noted():  # noqa: PT011
        fail()
    assert not ENDED.exists()


@pytest.mark.parametrize("reason", ["no stage", "no folder"])
def test_nothing_is_noted_where_there_is_no_stage_or_no_place(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason == "no stage":
        monkeypatch.delenv("DVC_STAGE")
    else:
        COPY.parent.rmdir()
    with noted():
        pass
    assert not COPY.exists()
    assert not ENDED.exists()
