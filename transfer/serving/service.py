"""A classifier in use by many at once: what is computed, in which thread."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from transfer.core.arrays import Floats, Pixels
from transfer.core.params import Format
from transfer.dataset.decode import BadImageError
from transfer.evaluation.occlusion import occlusion_map
from transfer.export.classifiers import Classifier, open_classifier
from transfer.serving.arguments import shown
from transfer.serving.batcher import Batcher, Places
from transfer.serving.limits import Limits
from transfer.serving.measures import Measures
from transfer.serving.uploads import Upload, read_pixels


@dataclass(frozen=True)
class Classifiers:
    """The same classifier, prepared for a single image that has to be quick, and for many."""

    single: Classifier
    many: Classifier

    @classmethod
    def open(cls, path: Path, wanted: Format | None) -> "Classifiers":
        """Read an exported classifier, and compute an image with each, as runtimes compile when the first one comes.

        Raises:
            UserError: as of `open_classifier`.
        """
        both = cls(open_classifier(path, wanted, latency=True), open_classifier(path, wanted))
        contract = both.single.contract
        blank = np.zeros((2, contract.image_size, contract.image_size, contract.channels), np.uint8)
        both.probabilities(blank[:1])
        both.probabilities(blank)
        return both

    def probabilities(self, images: Pixels) -> Floats:
        """Classify uint8 images (n, S, S, channels): float32 (n, classes)."""
        return (self.single if len(images) == 1 else self.many).probabilities(images)


class Service:
    """Decodes in as many threads as there are cores, computes in one, as runtimes use all cores for it and are not safe
    in more, and draws in another.
    """

    def __init__(self, classifiers: Classifiers, limits: Limits, measures: Measures) -> None:
        self._classifiers, self._limits = classifiers, limits
        self.contract = classifiers.single.contract
        self.places, self.explanations = Places(limits.waiting), Places(limits.explanations)
        measures.waiting.set_function(lambda: self.places.taken)
        self._decoding = ThreadPoolExecutor(os.cpu_count(), "decode")
        self._computing = ThreadPoolExecutor(1, "compute")
        self._drawing = ThreadPoolExecutor(1, "draw")  # pyplot is for one thread
        compute = classifiers.probabilities
        self._batcher = Batcher(compute, self._computing, self.places, limits.batch, measures.batches.observe)
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """Compute what comes, inside the context."""
        self._task = asyncio.create_task(self._batcher.run())
        try:
            yield
        finally:
            self._task.cancel()
            for executor in (self._drawing, self._decoding, self._computing):
                executor.shutdown(wait=False, cancel_futures=True)

    @property
    def ready(self) -> bool:
        """Whether images are computed."""
        return self._task is not None and not self._task.done()

    async def pixels(self, upload: Upload) -> Pixels | BadImageError:
        """Decode an image, uint8 (S, S, channels), or say why it cannot be."""
        loop, most = asyncio.get_running_loop(), self._limits.max_pixels
        try:
            return await loop.run_in_executor(self._decoding, read_pixels, upload, self.contract, most)
        except BadImageError as error:
            return error

    async def probabilities(self, pixels: Pixels) -> Floats:
        """Classify an image, uint8 (S, S, channels), together with others: float32 (classes,)."""
        return await self._batcher.probabilities(pixels)

    async def explanation(self, pixels: Pixels, target: int, probability: float) -> bytes:
        """Draw, as a PNG, what in an image, uint8 (S, S, channels), speaks for and against a class."""
        said = shown(f"{self.contract.classes[target]} {probability:.4f}")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._drawing, _draw, self._between, pixels, target, said)

    def _between(self, images: Pixels) -> Floats:
        """Classify images in the thread that computes, between batches of other requests."""
        return self._computing.submit(self._classifiers.probabilities, images).result()


def _draw(classify: Callable[[Pixels], Floats], pixels: Pixels, target: int, said: str) -> bytes:
    from transfer.evaluation.pictures import draw_explanation  # matplotlib takes a second to come

    falls = occlusion_map(classify, pixels, target)
    with TemporaryDirectory() as folder:
        path = Path(folder, "explanation.png")
        draw_explanation(pixels, falls, "the image", said, path)
        return path.read_bytes()
