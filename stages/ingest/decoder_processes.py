"""The decoder in processes of its own, which can be ended, for whoever has threads.

Each is a fresh interpreter, which has neither the memory of this process nor its connections. What
comes back is JSON and bytes, of which nothing is run, whatever became of the decoder.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from queue import LifoQueue
from threading import Lock

import numpy as np
from PIL import Image

from stages.cores import cores
from stages.ingest import decoder
from stages.ingest.budget import Budget
from stages.ingest.confinement import clock_deadline, deadline, limit_memory, reason
from stages.ingest.decoder import Photo
from stages.ingest.deep_pixels import Misfit
from stages.ingest.form import Form, as_depth
from stages.ingest.images import UnreadablePhoto

LONGEST_ANSWER = 2**16  # bytes, pixels aside

# It finds what this process finds, and not what may lie in the folder that it was started in.
PROGRAM = """
import json, sys
options = json.loads(sys.argv[1])
sys.path[:] = options.pop("path")
from stages.ingest.decoder_processes import run
run(**options)
"""


class Decoders:
    """Processes that decode, each started when it is first needed, or by ``start``.

    On Windows, where nothing like it is at hand, threads decode by themselves.

    Args:
        count: of processes; None: one for each core.
        memory: bytes that they may take together; None: all that there is for decoders.
        on_node: beside others, one for each core of a node of a cluster: there is one process.
    """

    def __init__(
        self, count: int | None = None, memory: int | None = None, on_node: bool = False
    ) -> None:
        self._count = count or cores()
        self._budget = Budget(self._count, memory)
        if on_node:
            self._count = 1
            self._budget.share_with_node()
        self._started: set[_Process] = set()
        self._is_closed = False
        self._lock = Lock()  # of the two above: what is being started is not missed by ``close``
        self._free: LifoQueue[_Process | None] = LifoQueue()  # None: to be started
        for _ in range(self._count):
            self._free.put(None)

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts all of them, for nobody to wait for it later."""
        if sys.platform != "win32":
            for process in [self._free.get() for _ in range(self._count)]:
                self._free.put(process or self._new())

    def decode(self, content: bytes, form: Form) -> Photo:
        """As ``stages.ingest.decoder.decode``; from any thread.

        Raises:
            UnreadablePhoto: what that raises; or the photo took too long, or broke its decoder.
            RuntimeError: the decoders are closed, or have an error of their own.
        """
        if sys.platform == "win32":
            return decoder.decode(content, *form, budget=self._budget)
        process = self._free.get()
        try:
            if process is None or process.has_ended:
                process = self._new(instead_of=process)
            try:
                return process.decode(content, form)
            except (EOFError, OSError) as error:
                status = process.end()
                if status > 0:
                    raise RuntimeError("a decoder ended by the error that it has shown") from error
                raise UnreadablePhoto(reason(-status)) from None
        finally:
            self._free.put(process)

    def _new(self, instead_of: "_Process | None" = None) -> "_Process":
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the decoders are closed")
            if instead_of is not None:
                self._started.discard(instead_of)
                instead_of.end()
            process = _Process(self._budget, self._count)
            self._started.add(process)
        return process

    def close(self) -> None:
        """Ends the processes, whatever they are at."""
        with self._lock:
            self._is_closed = True
        for process in self._started:
            process.kill()  # and no more: somebody may be waiting for what it says
        self._budget.close()


class _Process:
    """A process that decodes one photo after the other."""

    def __init__(self, budget: Budget, count: int) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            passed = [theirs.fileno(), budget.descriptor]
            options = {
                "path": sys.path,
                "connection": passed[0],
                "lock": passed[1],
                "total": budget.total,
                "count": count,
            }
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-W", "ignore", "-c", PROGRAM, json.dumps(options)],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
            )

    def decode(self, content: bytes, form: Form) -> Photo:
        """The photo.

        Raises:
            UnreadablePhoto: it is none.
            EOFError, OSError: the process has ended.
        """
        self._connection.send_bytes(json.dumps([form, Image.MAX_IMAGE_PIXELS]).encode())
        self._connection.send_bytes(content)
        answer = json.loads(self._connection.recv_bytes(LONGEST_ANSWER))
        if "error" in answer:
            raise UnreadablePhoto(answer["error"])
        pixels = self._connection.recv_bytes(form.size * form.size * 3)
        shape = (form.size, form.size, 3)
        answer["misfit"] = Misfit(answer["misfit"])
        return Photo(np.frombuffer(pixels, np.uint8).reshape(shape), **answer)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        """Ends the process, from any thread; whoever waits for its answer gets an ``EOFError``."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Ends the process, where it has not; returns its exit status, −n where signal n did it."""
        self._connection.close()
        try:
            self._process.wait(1)  # for a moment, in which it ends by itself
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._process.wait()


def run(connection: int, lock: int, total: int, count: int) -> None:
    """Decodes what comes, until there is nobody who could ask.

    Args:
        connection, lock: descriptors, of a ``Connection`` and of the budget's lock.
        total, count: of the budget.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who has started this one ends it
    # Libraries in C complain of photos to the descriptor of stderr; what goes wrong here is shown.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    budget = Budget(count, total, lock)
    limit_memory(budget.most)
    with suppress(EOFError, OSError), Connection(connection) as pipe:
        while True:
            (size, depth, fit), Image.MAX_IMAGE_PIXELS = json.loads(pipe.recv_bytes())
            content = pipe.recv_bytes()
            try:
                with deadline(), clock_deadline():
                    photo = decoder.decode(content, size, as_depth(depth), fit, budget)
            except UnreadablePhoto as error:
                pipe.send_bytes(json.dumps({"error": str(error)}).encode())
                continue
            answer = photo._asdict()
            pixels = answer.pop("pixels")
            pipe.send_bytes(json.dumps(answer).encode())
            pipe.send_bytes(pixels.tobytes())
