"""The model in use, and the change to a new one while requests are being answered.

A request keeps to the model that was in use when it came, from its photo's size to its labels, so
that none is dropped and no answer is of two models.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from stages import UserError
from stages.bundle.model import Model, load_model
from tagloom.serve.metrics import Metrics

Runtime = Literal["torch", "onnx"]
log = logging.getLogger("tagloom.serve")


def ready(folder: Path, runtime: Runtime) -> Model:
    """Loads the model of a bundle and has it answer once, which takes longer the first time.

    Raises:
        UserError: the bundle is not whole.
    """
    model = load_model(folder, runtime)
    size = model.bundle.stored_size
    photos = (
        np.zeros((1, size, size, 3), np.uint8) if model.bundle.description.sees_images else None
    )
    answer = model.probabilities(photos, [""])
    if not np.isfinite(answer).all():
        raise UserError(f"{folder}: the network answers with what is no probability")
    return model


class ModelReloader:
    """Holds the model in use, and puts a new one in its place when the bundle's folder changes.

    Args:
        model: the first one, ready to answer.
        interval: seconds between two checks of the folder.
        refresh: brings the folder up to date before each check; None: others do.

    Attributes:
        model: the one in use.
        runtime: of this model and of those to come.
        problem: why the newest bundle is not in use, a sentence; None: it is.
    """

    def __init__(
        self,
        model: Model,
        runtime: Runtime,
        interval: float,
        metrics: Metrics,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.model = model
        self.problem: str | None = None
        self._broken: str | None = None  # the problem of the folder as it is
        self.runtime = runtime
        self._folder, self._interval = model.bundle.folder, interval
        self._metrics, self._refresh = metrics, refresh
        self._seen = signature(self._folder)
        self._announce()

    async def run(self) -> None:
        """Checks the folder every ``interval`` seconds until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            await self._check()

    async def _check(self) -> None:
        """Puts the bundle in use that the folder holds, if it is another one and can be used."""
        try:
            if self._refresh is not None:
                await self._refresh()
            current = await asyncio.to_thread(signature, self._folder)
        except Exception as error:  # of the check itself, not of what the folder holds
            self._refuse(error)
            return
        if current != self._seen:
            self._seen = current
            await self._reload()
        self.problem = self._broken

    async def _reload(self) -> None:
        try:
            model = await asyncio.to_thread(ready, self._folder, self.runtime)
        except Exception as error:  # whatever is wrong with it, the one in use goes on
            self._broken = self._refuse(error)
            return
        self._broken = None
        if model.bundle.sha256 != self.model.bundle.sha256:
            self.model = model
            self._metrics.loads.labels("in use").inc()
            self._announce()

    def _refuse(self, error: Exception) -> str:
        sentence = str(error) if isinstance(error, UserError | OSError) else repr(error)
        if sentence != self.problem:
            self._metrics.loads.labels("refused").inc()
            log.error("the new model is not put in use: %s", sentence)
        self.problem = sentence
        return sentence

    def _announce(self) -> None:
        bundle = self.model.bundle
        self._metrics.model.info({"sha256": bundle.sha256})
        log.info(
            "in use: %s, %d labels, SHA-256 %s", bundle.folder, len(bundle.labels), bundle.sha256
        )


def signature(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Each file's name, size, time and inode, which change whenever a file in the folder does."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = [(path, path.stat()) for path in files]
    return tuple((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in stats)


class Champion:
    """Fetches the model in use of the project in ``root`` into ``folder`` whenever it changes."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        self._seen: bytes | None = None

    async def fetch(self) -> None:
        """Brings the folder up to date.

        Raises:
            UserError: there is no champion, or it cannot be had.
        """
        # A few milliseconds, where asking DVC's registry takes a second.
        refs = await _output(self.root, "git", "for-each-ref", "refs/tags")
        if refs != self._seen:
            await _output(
                self.root, sys.executable, "-m", "experiments.registry", "--fetch", str(self.folder)
            )
            self._seen = refs


async def _output(root: Path, *command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):  # it has just ended
            process.terminate()
        await process.wait()
        raise
    if process.returncode:
        raise UserError(errors.decode(errors="replace").strip() or f"{command[0]} failed")
    return output
