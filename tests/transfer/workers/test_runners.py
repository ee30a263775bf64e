"""Tests of transfer/workers/runners.py."""

from collections.abc import Iterable, Iterator

from transfer.workers.runners import LocalRunner
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
