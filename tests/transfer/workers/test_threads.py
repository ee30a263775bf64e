"""Tests of transfer/workers/threads.py."""

import threading
import time
from collections.abc import Generator, Iterator
from typing import cast

from transfer.workers.threads import in_order


def test_results_come_in_order_and_no_more_is_begun_than_asked_for() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    def slow_at_first(number: int) -> int:
        time.sleep(0.0 if number else 0.05)
        return number * number

    results = in_order(slow_at_first, items(), 4)
    assert next(results) == 0
    assert taken == [0, 1, 2, 3]
    assert next(results) == 1
    assert taken == [0, 1, 2, 3, 4]
    assert list(results) == [number * number for number in range(2, 20)]


def test_what_is_not_begun_when_nobody_asks_any_more_is_left() -> None:
    go_on = threading.Event()
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number:
            go_on.wait(10)
        return number

    results = cast("Generator[int]", in_order(work, range(1000), 500))
    assert next(results) == 0
    threading.Timer(0.2, go_on.set).start()
    results.close()
    assert len(begun) < 100
