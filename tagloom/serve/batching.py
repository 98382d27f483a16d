"""Many requests' photos through the network at once.

Photos are decoded, a few at once, and wait in a queue; one thread, which has the network to
itself, takes as many as there are up to a batch. An idle network does not wait for company,
except while more photos are being decoded, and then for a few milliseconds at most.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from stages.bundle.model import Model
from stages.ingest.budget import give_back
from stages.ingest.decoder import Photo
from stages.ingest.form import Form
from tagloom.serve.metrics import Metrics

GIVES_BACK = 30.0  # seconds between two times; the next batch then waits for memory anew

Result = TypeVar("Result")


@dataclass
class Job:
    """A decoded photo (None: the network wants none) and its caption, for one model."""

    model: Model
    photo: np.ndarray | None
    caption: str | None
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """Answers for single photos, computed in batches.

    Args:
        decode: a file's content and a form → a photo in it.
        size: photos in a batch, at most.
        wait: seconds that photos which are ready wait for those being decoded, at most.
        threads: that have photos decoded.

    Attributes:
        is_running: whether photos are answered.
    """

    def __init__(
        self,
        decode: Callable[[bytes, Form], Photo],
        size: int,
        wait: float,
        threads: int,
        metrics: Metrics,
    ) -> None:
        self.size, self.wait, self.metrics = size, wait, metrics
        self.is_running = False
        self._decode = decode
        self._decoders = ThreadPoolExecutor(threads, "decode")
        self._network = ThreadPoolExecutor(1, "network")
        self._started: dict[object, float] = {}  # when what the threads are at was begun
        self._queue: deque[Job] = deque()
        self._decoding = 0
        self._news = asyncio.Event()  # a job came, or a photo turned out to be none

    @property
    def longest(self) -> float:
        """Seconds for which the longest of what the threads are at is going on; 0: nothing is."""
        now = time.monotonic()
        return now - min(list(self._started.values()), default=now)

    async def probabilities(
        self, model: Model, content: bytearray | None, caption: str | None
    ) -> np.ndarray:
        """Calibrated probabilities of a photo, a caption or both by ``model``, float32 (labels,).

        Args:
            content: of the photo's file.

        Raises:
            Exception: whatever ``decode`` raises.
        """
        photo = None
        if content is not None:
            photo = (await self.decoded(model, content)).pixels
        answer: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._queue.append(Job(model, photo, caption, answer))
        self._news.set()
        return await answer

    async def decoded(self, model: Model, content: bytearray) -> Photo:
        """The photo as ``model`` wants it."""
        self._decoding += 1
        try:
            return await self._in(self._decoders, self._decode_measured, content, model.bundle.form)
        finally:
            self._decoding -= 1
            self._news.set()

    def _decode_measured(self, content: bytearray, form: Form) -> Photo:
        with self.metrics.decode.time():
            return self._decode(bytes(content), form)

    async def in_network_thread(
        self, function: Callable[..., Result], *arguments: object
    ) -> Result:
        """Runs a function in the network's thread, between two batches."""
        return await self._in(self._network, function, *arguments)

    async def _in(
        self, pool: ThreadPoolExecutor, function: Callable[..., Result], *arguments: object
    ) -> Result:
        def timed() -> Result:
            token = object()
            self._started[token] = time.monotonic()
            try:
                return function(*arguments)
            finally:
                del self._started[token]

        return await asyncio.get_running_loop().run_in_executor(pool, timed)

    async def run(self) -> None:
        """Answers until it is cancelled."""
        self.is_running = True
        try:
            while True:
                if batch := await self._batch():
                    self.metrics.batches.observe(len(batch))
                    await self._answer(batch)
        finally:
            self.is_running = False
            for pool in (self._decoders, self._network):
                pool.shutdown(wait=False, cancel_futures=True)  # whoever is stuck keeps nobody

    async def give_back_memory(self) -> None:
        """Has what many requests at once took go back to the system, until it is cancelled."""
        while True:
            await asyncio.sleep(GIVES_BACK)
            await self.in_network_thread(give_back)

    async def _batch(self) -> list[Job]:
        """The next jobs, all for one model, at most a batch; none where their clients have gone."""
        while not self._queue:
            await self._wait_for_news(None)
        deadline = time.monotonic() + self.wait
        while len(self._queue) < self.size and self._decoding:
            left = deadline - time.monotonic()
            if left <= 0 or not await self._wait_for_news(left):
                break
        self._queue = deque(job for job in self._queue if not job.answer.done())
        batch: list[Job] = []
        while self._queue and len(batch) < self.size:
            if batch and self._queue[0].model is not batch[0].model:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _wait_for_news(self, seconds: float | None) -> bool:
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _answer(self, batch: list[Job]) -> None:
        try:
            probabilities = await self.in_network_thread(self._compute, batch)
        except Exception as error:
            # Whose fault it was shows when each is asked about alone; the others have their answer.
            if len(batch) > 1:
                for job in batch:
                    await self._answer([job])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        for job, row in zip(batch, probabilities, strict=True):
            if not job.answer.done():  # as when a client went away
                job.answer.set_result(row)

    def _compute(self, batch: list[Job]) -> np.ndarray:
        photos = [job.photo for job in batch if job.photo is not None]  # of all, or of none
        captions = [job.caption for job in batch]
        with self.metrics.network.time():
            return batch[0].model.probabilities(np.stack(photos) if photos else None, captions)
