"""``tagloom serve --workers N``: processes that share one port, each with a model of its own.

The first process binds the port and answers nothing itself. The workers accept from the one socket,
so that no connection waits for a worker that has gone. One that ends unasked is replaced. The first
of them fetches the champion, and the others see it in its folder.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from stages import UserError, printable
from stages.cores import cores
from stages.ingest.budget import for_decoders
from tagloom.serve import request_log
from tagloom.serve.metrics import SHARED
from tagloom.serve.server import BACKLOG, MARGIN, Address, Settings, run

SPAWN = multiprocessing.get_context("spawn")  # torch's threads do not outlive a fork
PAUSE = 1.0  # seconds before a worker is replaced that has hardly begun
log = logging.getLogger("tagloom.serve")


@dataclass
class Worker:
    """A process, its number and, until it is ready, what it says that by."""

    number: int
    process: BaseProcess
    news: Connection | None
    started: float

    @property
    def is_ready(self) -> bool:
        return self.news is None


class Workers:
    """Starts ``count`` workers, keeps as many alive, and ends them all on SIGINT or SIGTERM."""

    def __init__(self, settings: Settings, count: int) -> None:
        threads = settings.threads or max(1, cores() // count)
        memory = for_decoders() // count
        self._settings, self._count = replace(settings, threads=threads, memory=memory), count
        self._workers: list[Worker] = []
        self._listener = bound(settings.address)
        self._is_open = False
        self._closing: float | None = None  # when the port is closed
        self._last: float | None = None  # when nobody is waited for any longer

    def run(self) -> None:
        """Serves until it is told to stop.

        Raises:
            SystemExit: with 1: no worker could start, or one did not come to an orderly end.
        """
        # Else each worker would compute with as many threads as there are cores.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // self._count)))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        with tempfile.TemporaryDirectory(prefix="tagloom-") as folder, self._listener:
            os.environ[SHARED] = folder
            self._start(1)
            is_orderly = True
            while self._workers:
                self._look()
                for worker in [each for each in self._workers if not each.process.is_alive()]:
                    is_orderly &= self._ended(worker)
        if not is_orderly:
            sys.exit(1)

    def _start(self, number: int) -> None:
        news, theirs = SPAWN.Pipe(duplex=False)
        arguments = (self._settings, self._listener, number == 1, theirs)
        process = SPAWN.Process(target=work, args=arguments, name=f"worker {number}")
        process.start()
        theirs.close()
        self._workers.append(Worker(number, process, news, time.monotonic()))
        if self._last is not None:  # it was told to stop in between
            process.terminate()

    def _look(self) -> None:
        """Waits for news of a worker, or until something is due."""
        now = time.monotonic()
        if self._closing is not None and now >= self._closing:
            self._listener.close()
        if self._last is not None and now >= self._last:
            for worker in self._workers:
                worker.process.kill()
        due = [at - now for at in (self._closing, self._last) if at is not None and at > now]
        starting = {each.news: each for each in self._workers if each.news is not None}
        ends = [each.process.sentinel for each in self._workers]
        for news in wait([*starting, *ends], min(due, default=None)):
            if isinstance(news, Connection):
                self._begun(starting[news])

    def _begun(self, worker: Worker) -> None:
        """A worker has opened the port, or ended before that."""
        assert worker.news is not None
        try:
            worker.news.recv()
        except EOFError:
            worker.process.join()
            return
        worker.news.close()
        worker.news = None
        if not self._is_open:
            self._is_open = True
            host, port = self._listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            log.info("%d workers, running on http://%s:%d", self._count, shown, port)
            for number in range(2, self._count + 1):
                self._start(number)

    def _ended(self, worker: Worker) -> bool:
        """Replaces a worker that has ended; returns whether its end was in order."""
        self._workers.remove(worker)
        code, pid = worker.process.exitcode, worker.process.pid
        mark_process_dead(pid)
        if self._last is not None:
            return code in (0, -signal.SIGINT, -signal.SIGTERM)
        if not self._is_open:  # it has said why
            return False
        log.error("worker %d, process %s, has ended (%s); it is replaced", worker.number, pid, code)
        if time.monotonic() - worker.started < PAUSE or not worker.is_ready:
            time.sleep(PAUSE)
        if self._last is None:
            self._start(worker.number)
        return True

    def _stop(self, number: int, _: FrameType | None) -> None:
        stopping = self._settings.stopping
        notice = stopping.notice if number == signal.SIGTERM else 0
        self._closing = time.monotonic() + notice
        self._last = self._closing + stopping.grace + 2 * MARGIN
        for worker in self._workers:
            if worker.process.is_alive() and worker.process.pid is not None:
                os.kill(worker.process.pid, number)


def bound(address: Address) -> socket.socket:
    """A socket at the address, to which nobody can connect before a worker listens at it.

    Raises:
        UserError: the address is none of this machine's, or in use.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, *_, where = min(found, key=lambda each: each[0])  # IPv4 before IPv6
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
    except OSError as error:
        raise UserError(
            f"cannot listen at {address.host}, port {address.port} ({error.strerror}); see --host "
            "and --port"
        ) from error
    return listener


def work(settings: Settings, listener: socket.socket, is_first: bool, news: Connection) -> None:
    """A worker, in a process of its own."""
    os.setsid()  # Ctrl-C is for the first process, which passes it on
    threading.Thread(target=_end_with_parent, daemon=True).start()
    request_log.set_up(settings.style, settings.level)

    def announce() -> None:
        listener.listen(BACKLOG)
        news.send(True)
        news.close()

    try:
        run(settings, listener, is_first, announce)
    except (UserError, OSError) as error:
        sys.exit(f"tagloom: {printable(str(error))}")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
