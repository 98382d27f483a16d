"""A function over many items on all cores, results in the items' order, memory flat.

Threads share Python's lock, which every call into Pillow has to take again; on two cores they
reach 1.4 times the speed of one. Processes reach twice, once they have started.
"""

import mmap
import multiprocessing
import os
import signal
import struct
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn, TypeVar

import numpy as np

from stages import UserError
from stages.cores import cores

Item = TypeVar("Item")
Result = TypeVar("Result")
Filled = tuple[np.ndarray | None, Any]  # pixels, where there are any, and all the rest

# A process is a copy of this one (fork), so that it has the items, functions without a name among
# them, and starts in no time. macOS and Windows cannot do that, or not safely.
CAN_FORK = sys.platform == "linux"
AHEAD = 4  # chunks for each process, done or to do
CHUNK = 32  # items a process takes at once, at most,
CHUNK_BYTES = 2 << 20  # and of so many pixels


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """``map`` on threads; only a few results for each are made before they are asked for.

    Args:
        threads: None: one for each core.
    """
    count = threads or cores()
    with ThreadPoolExecutor(count) as pool:
        ahead: deque = deque()
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 16 * count:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def in_processes(
    function: Callable[[Item], Filled], items: Sequence[Item], shape: tuple[int, ...]
) -> Iterator[Filled]:
    """``map`` on processes for a ``function`` that yields pixels, uint8 of ``shape``, or None.

    The pixels come through shared memory and are good until the next result is asked for; the
    rest comes through a pipe. The processes end with this one, however it ends.

    Raises:
        UserError: a process was killed, or ended by an error that it has shown.
    """
    count = cores()
    length = max(1, min(CHUNK, CHUNK_BYTES // int(np.prod(shape)), len(items) // (AHEAD * count)))
    chunks, slots = -(-len(items) // length), AHEAD * count
    # Chunk n goes to slot n % slots, once what was there before has been taken.
    memory = mmap.mmap(-1, slots * length * int(np.prod(shape)))
    pixels = np.frombuffer(memory, np.uint8).reshape(slots, length, *shape)

    def work(pipe: Connection) -> None:
        while number := os.read(to_do, 8):
            (chunk,) = struct.unpack("q", number)
            results = []
            for place, item in enumerate(items[chunk * length : (chunk + 1) * length]):
                array, rest = function(item)
                if array is not None:
                    pixels[chunk % slots, place] = array
                results.append((array is not None, rest))
            pipe.send((chunk, results))

    # The numbers of chunks, 8 bytes each, for whoever reads first: no kernel parts so few.
    to_do, order = os.pipe()
    team = _Team(count, work, order)
    try:
        for chunk in range(min(slots, chunks)):
            os.write(order, struct.pack("q", chunk))
        for chunk in range(chunks):
            for place, (filled, rest) in enumerate(team.results(chunk)):
                yield pixels[chunk % slots, place] if filled else None, rest
            if chunk + slots < chunks:
                os.write(order, struct.pack("q", chunk + slots))
    finally:
        os.close(order)
        os.close(to_do)
        team.end()


class _Team:
    """Processes at ``work(pipe)``, which send pairs of a chunk's number and its results.

    A process should end when nobody can write to ``order`` any more, so none keeps it open.
    """

    def __init__(self, count: int, work: Callable[[Connection], None], order: int) -> None:
        self._waiting: dict[int, list[tuple[bool, Any]]] = {}  # results, by the chunk's number
        self._processes: dict[Connection, BaseProcess] = {}
        for _ in range(count):
            reader, writer = multiprocessing.Pipe(duplex=False)
            self._processes[reader] = multiprocessing.get_context("fork").Process(
                target=self._run, args=(work, writer, order), daemon=True
            )
            with warnings.catch_warnings():
                # Python 3.12 warns of a fork beside threads, whose locks stay taken in the copy.
                # Those here are polars' and torch's own, and the copy calls neither.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._processes[reader].start()
            writer.close()

    def _run(self, work: Callable[[Connection], None], pipe: Connection, order: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage itself ends, and says so once
        os.close(order)
        for reader in self._processes:
            reader.close()
        with suppress(BrokenPipeError):  # the stage was killed
            work(pipe)

    def results(self, chunk: int) -> list[tuple[bool, Any]]:
        """Those of chunk number ``chunk``, as soon as they are there."""
        while chunk not in self._waiting:
            ready = wait(list(self._processes))
            for reader, process in self._processes.items():
                if reader in ready:
                    try:
                        number, results = reader.recv()
                    except EOFError:
                        self._raise_for_dead(process)
                    self._waiting[number] = results
        return self._waiting.pop(chunk)

    def _raise_for_dead(self, process: BaseProcess) -> NoReturn:
        process.join()
        status = process.exitcode or 0
        if status < 0:
            raise UserError(
                f"a process that decodes photos was killed by signal {-status}; where "
                "memory was short, give the stage fewer cores (taskset --cpu-list 0)"
            )
        raise UserError("a process that decodes photos ended by the error shown above")

    def end(self) -> None:
        for reader, process in self._processes.items():
            process.terminate()
            process.join()
            reader.close()
