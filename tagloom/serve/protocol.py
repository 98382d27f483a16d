"""HTTP/1.1 as uvicorn speaks it, with what it leaves out: an end to waiting for a client."""

import asyncio
import json
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tagloom.serve.metrics import Metrics
from tagloom.serve.middleware import LINGER

PROBE = 0.2  # seconds until a first probe, and in which a reset comes back


class PatientProtocol(H11Protocol):
    """Ends a connection on which the headers of a request take longer than ``_seconds``, and at
    once one that is more than ``_most``.
    """

    _seconds: float
    _most: int
    _metrics: Metrics
    _timer: asyncio.TimerHandle | None = None
    _has_refused = False

    # The type that uvicorn has, too: a server of TCP gets no other transport.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._most:
            sentence = f"{self._most} clients are connected, as many as there may be"
            self._refuse(503, "connections", sentence)
            transport.close()  # at once: what lingers is a descriptor more
            return
        self._timer = self.loop.call_later(self._seconds, self._too_slow)

    def data_received(self, data: bytes) -> None:
        if self._has_refused:
            return
        if self._timer is None and self.conn.their_state is h11.IDLE:
            self._timer = self.loop.call_later(self._seconds, self._too_slow)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()

    # uvicorn says None, which closes; asyncio keeps the connection open where it is True.
    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that sends no more may still read: its answer, or what was missing."""
        if self._has_refused or self.cycle is None or self.cycle.response_complete:
            return False
        if not self.cycle.more_body:
            self.cycle.keep_alive = False  # so that its end is the connection's
            self.loop.call_later(PROBE, self._probe)
            return True
        if not self.cycle.response_started:
            self._refuse(400, "truncated", "the request broke off")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "http", "this is not HTTP, or its headers are too long")

    def _probe(self, again: bool = True) -> None:
        """Finds out whether a client that sends no more still reads, by a "100 Continue", which
        clients pass over: where it has gone, its machine answers with a reset, which shows at the
        next bytes.
        """
        is_answered = self.conn.our_state is not h11.SEND_RESPONSE or self.transport.is_closing()
        if is_answered or self.conn.their_http_version == b"1.0":  # which does not know of it
            return
        goes_on = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
        self.transport.write(self.conn.send(goes_on))
        if again:
            self.loop.call_later(PROBE, self._probe, False)

    def _too_slow(self) -> None:
        self._timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._refuse(408, "slow", f"the headers did not arrive within {self._seconds:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, reason: str, sentence: str) -> None:
        self._metrics.rejected.labels(reason).inc()
        self._has_refused = True
        self._stop_timer()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = json.dumps({"detail": sentence}).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        phrase = HTTPStatus(status).phrase
        answer = h11.Response(status_code=status, headers=headers, reason=phrase)
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        # Closed at once, a connection on which more has arrived is reset, and the answer lost.
        self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)


def protocol(seconds: float, most: int, metrics: Metrics) -> type[asyncio.Protocol]:
    """``PatientProtocol`` as uvicorn's ``http`` takes it: a class that needs no more arguments."""

    class Protocol(PatientProtocol):
        _seconds, _most, _metrics = seconds, most, metrics

    return Protocol
