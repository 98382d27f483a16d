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
from typing import Any, TypeVar

import numpy as np

from stages import UserError
from stages.cores import cores
from stages.ingest.confinement import FATAL, SECONDS, deadline, limit_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
Shared = np.ndarray  # in memory that processes share
Filled = tuple[np.ndarray | None, Any]  # pixels, where there are any, and all the rest

# A process is a copy of this one (fork), so that it has the items, functions without a name among
# them, and starts in no time. macOS and Windows cannot do that, or not safely.
CAN_FORK = sys.platform == "linux"
AHEAD = 4  # chunks for each process, done or to do
CHUNK = 32  # items a process takes at once, at most,
CHUNK_BYTES = 2 << 20  # and of so many pixels
AT_WORK = 255  # the state of an item; no signal has this number


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
    function: Callable[[Item], Filled],
    items: Sequence[Item],
    shape: tuple[int, ...],
    fatal: Callable[[int], Any],
    memory: int | None = None,
    seconds: float = SECONDS,
    processes: int | None = None,
) -> Iterator[Filled]:
    """``map`` on processes for a ``function`` that yields pixels, uint8 of ``shape``, or None.

    The pixels come through shared memory and are good until the next result is asked for; the
    rest comes through a pipe. The processes end with this one, however it ends.

    Args:
        fatal: makes the result of an item that ends its process, by crashing it or by taking
            longer than there is, of the signal. Another process goes on with the next item.
        memory: bytes that each may take beside what this process has; None: any.
        seconds: of a core that an item may take.
        processes: None: one for each core.

    Raises:
        UserError: a process was killed from outside, or ended by an error that it has shown.
    """
    if not items:
        return
    count = min(processes or cores(), len(items))
    length = max(1, min(CHUNK, CHUNK_BYTES // int(np.prod(shape)), len(items) // (AHEAD * count)))
    chunks, slots = -(-len(items) // length), AHEAD * count
    # Chunk n goes to slot n % slots, once what was there before has been taken.
    buffer = mmap.mmap(-1, slots * length * int(np.prod(shape)))
    pixels = np.frombuffer(buffer, np.uint8).reshape(slots, length, *shape)

    # Of each item whether a process is at it, and by which signal it has ended one.
    states: Shared = np.frombuffer(mmap.mmap(-1, slots * length), np.uint8).reshape(slots, length)

    def work(pipe: Connection, taken: Shared) -> None:
        if memory is not None:
            limit_memory(memory)
        while number := os.read(to_do, 8):
            (chunk,) = struct.unpack("q", number)
            taken[0] = chunk
            results = []
            for place, item in enumerate(items[chunk * length : (chunk + 1) * length]):
                if states[chunk % slots, place]:
                    results.append((False, fatal(int(states[chunk % slots, place]))))
                    continue
                states[chunk % slots, place] = AT_WORK
                with deadline(seconds):
                    array, rest = function(item)
                states[chunk % slots, place] = 0
                if array is not None:
                    pixels[chunk % slots, place] = array
                results.append((array is not None, rest))
            pipe.send((chunk, results))

    def again(chunk: int, ended_by: int) -> bool:
        """Has the rest of a chunk done whose process was ended; False where no item has done it."""
        guilty = states[chunk % slots] == AT_WORK
        states[chunk % slots][guilty] = ended_by
        os.write(order, struct.pack("q", chunk))
        return bool(guilty.any())

    # The numbers of chunks, 8 bytes each, for whoever reads first: no kernel parts so few.
    to_do, order = os.pipe()
    team = _Team(count, work, again, order)
    try:
        for chunk in range(min(slots, chunks)):
            os.write(order, struct.pack("q", chunk))
        for chunk in range(chunks):
            for place, (filled, rest) in enumerate(team.results(chunk)):
                yield pixels[chunk % slots, place] if filled else None, rest
            states[chunk % slots] = 0
            if chunk + slots < chunks:
                os.write(order, struct.pack("q", chunk + slots))
    finally:
        os.close(order)
        os.close(to_do)
        team.end()


class _Team:
    """Processes at ``work(pipe, taken)``, which send pairs of a chunk's number and its results.

    A process should end when nobody can write to ``order`` any more, so none keeps it open. One
    that an item has ended is followed by another, once ``again(chunk, signal)`` has seen to it
    that somebody does the chunk in ``taken``, which it was at.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[Connection, Shared], None],
        again: Callable[[int, int], bool],
        order: int,
    ) -> None:
        self._work, self._again, self._order = work, again, order
        self._waiting: dict[int, list[tuple[bool, Any]]] = {}  # results, by the chunk's number
        self._processes: dict[Connection, tuple[BaseProcess, Shared]] = {}
        taken = np.frombuffer(mmap.mmap(-1, 8 * count), np.int64)
        for place in range(count):
            self._start(taken[place : place + 1])

    def _start(self, taken: Shared) -> None:
        reader, writer = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(
            target=self._run, args=(writer, taken), daemon=True
        )
        self._processes[reader] = process, taken
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork beside threads, whose locks stay taken in the copy.
            # Those here are polars' and torch's own, and the copy calls neither.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        writer.close()

    def _run(self, pipe: Connection, taken: Shared) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage itself ends, and says so once
        os.close(self._order)
        for reader in self._processes:
            reader.close()
        with suppress(BrokenPipeError):  # the stage was killed
            self._work(pipe, taken)

    def results(self, chunk: int) -> list[tuple[bool, Any]]:
        """Those of chunk number ``chunk``, as soon as they are there."""
        while chunk not in self._waiting:
            for reader in wait(list(self._processes)):
                assert isinstance(reader, Connection)
                try:
                    number, results = reader.recv()
                except EOFError:
                    self._replace(reader)
                else:
                    self._waiting[number] = results
        return self._waiting.pop(chunk)

    def _replace(self, reader: Connection) -> None:
        """Starts a process in place of one that has ended.

        Raises:
            UserError: it was not its item that has ended it.
        """
        process, taken = self._processes[reader]
        process.join()
        status = process.exitcode or 0
        if -status in FATAL and self._again(int(taken[0]), -status):
            del self._processes[reader]
            reader.close()
            process.close()
            self._start(taken)
        elif status < 0:
            raise UserError(
                f"a process that decodes photos was killed by signal {-status}; where "
                "memory was short, give the stage fewer cores (taskset --cpu-list 0)"
            )
        else:
            raise UserError("a process that decodes photos ended by the error shown above")

    def end(self) -> None:
        for reader, (process, _) in self._processes.items():
            process.terminate()
            process.join()
            reader.close()
