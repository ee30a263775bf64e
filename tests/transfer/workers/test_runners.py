"""Tests of transfer/workers/runners.py."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from transfer.workers.beam_runner import BeamRunner
from transfer.workers.runners import LocalRunner, make_runner
from transfer.workers.work import Progress


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
