"""Tests of transfer/runners.py."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from transfer.beam_runner import BeamRunner
from transfer.files import under_own_name
from transfer.runners import LocalRunner, make_runner
from transfer.work import Progress


def test_here_all_items_are_one_run_and_made_as_they_are_asked_for() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(3):
            asked.append(number)
            yield number

    def work(numbers: Iterable[int], progress: Progress) -> list[tuple[int, int]]:
        seen = []
        for number in numbers:
            seen.append((number, len(asked)))
            progress(1)
        return seen

    assert LocalRunner().run(work, items(), 3, "count") == [[(0, 1), (1, 2), (2, 3)]]


def test_a_runner_is_made_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(make_runner("local", ["--nonsense"]), LocalRunner)
    assert not (tmp_path / ".beam").exists()
    assert isinstance(make_runner("beam", []), BeamRunner)


def test_a_file_is_there_whole_or_not_at_all_and_two_writers_do_no_harm(tmp_path: Path) -> None:
    place = tmp_path / "file"

    def break_off() -> None:
        with under_own_name(place) as part:
            part.write_text("half", encoding="utf-8")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        break_off()
    assert list(tmp_path.iterdir()) == []
    with under_own_name(place) as one, under_own_name(place) as other:
        assert len({one, other, place}) == 3
        other.write_text("whole", encoding="utf-8")
        one.write_text("whole", encoding="utf-8")
        assert not place.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert place.read_text(encoding="utf-8") == "whole"
