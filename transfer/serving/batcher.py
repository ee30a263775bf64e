"""Images of requests that come at the same time, computed together."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from transfer.core.arrays import Floats, Pixels

WAIT = 0.003
"""Seconds that an image waits for others that are being read, at most."""


class BusyError(Exception):
    """There is no place left: whoever asks should ask again later."""


class Places:
    """Places for images; each is taken from the first byte of a request until its answer.

    Args:
        limit: how many there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Hold places.

        Raises:
            BusyError: so many are not left.
        """
        if self.taken + count > self._limit:
            raise BusyError
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count


@dataclass(frozen=True)
class _Job:
    """An image, uint8 (S, S, channels), and where its probabilities, float32 (classes,), are awaited."""

    pixels: Pixels
    result: asyncio.Future[Floats]


class Batcher:
    """Puts images together for as long as the ones before them are being computed.

    An image that is alone is computed at once; one that others are about to follow waits for them, `WAIT` at most.

    Args:
        compute: gives probabilities, float32 (n, classes), for uint8 images (n, S, S, channels).
        executor: of the one thread that it is called in.
        places: tells how many images there are that are not answered yet.
        batch: images computed at a time, at most.
        seen: is told the size of each batch.
    """

    def __init__(
        self,
        compute: Callable[[Pixels], Floats],
        executor: Executor,
        places: Places,
        batch: int,
        seen: Callable[[int], None],
    ) -> None:
        self._compute, self._executor, self._places, self._batch, self._seen = compute, executor, places, batch, seen
        self._queue: asyncio.Queue[_Job] = asyncio.Queue()  # bounded by the places

    async def probabilities(self, pixels: Pixels) -> Floats:
        """Classify one image, uint8 (S, S, channels): float32 (classes,)."""
        job = _Job(pixels, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(job)
        return await job.result

    async def run(self) -> None:
        """Compute what comes until cancelled. An error of the runtime goes to those who wait, and ends nothing."""
        loop = asyncio.get_running_loop()
        while True:
            jobs = [job for job in await self._collect() if not job.result.done()]  # some gave up waiting
            if not jobs:
                continue
            self._seen(len(jobs))
            images = np.stack([job.pixels for job in jobs])
            try:
                rows = await loop.run_in_executor(self._executor, self._compute, images)
            except Exception as error:  # noqa: BLE001 (each runtime has errors of its own)
                for job in jobs:
                    if not job.result.done():
                        job.result.set_exception(error)
                continue
            for job, row in zip(jobs, rows, strict=True):
                if not job.result.done():
                    job.result.set_result(row)

    async def _collect(self) -> list[_Job]:
        jobs = [await self._queue.get()]
        latest = asyncio.get_running_loop().time() + WAIT
        while len(jobs) < self._batch:
            if not self._queue.empty():
                jobs.append(self._queue.get_nowait())
            elif self._places.taken <= len(jobs):  # nobody is on the way
                break
            else:
                try:
                    async with asyncio.timeout_at(latest):
                        jobs.append(await self._queue.get())
                except TimeoutError:
                    break
        return jobs
