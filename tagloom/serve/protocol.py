"""HTTP/1.1 as uvicorn speaks it, with what it leaves out: an end to waiting for a client."""

import asyncio
import json
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tagloom.serve.measures import Measures


def protocol(seconds: float, measures: Measures) -> type[asyncio.Protocol]:
    """A protocol for uvicorn's ``http`` that waits so many seconds for the headers of a request."""

    class Patient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(seconds, self._too_slow)

        def data_received(self, data: bytes) -> None:
            if self._timer is None and self.conn.their_state is h11.IDLE:
                self._timer = self.loop.call_later(seconds, self._too_slow)
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop_timer()

        def eof_received(self) -> bool:
            """A client that sends no more may still read: what is missing, or its answer."""
            if self.cycle is not None and not self.cycle.response_complete:
                if self.cycle.more_body and not self.cycle.response_started:
                    self._refuse(400, "truncated", "the request broke off")
                self.cycle.keep_alive = False
                return True
            return False

        def connection_lost(self, error: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(error)

        def send_400_response(self, msg: str) -> None:
            self._refuse(
                400, "http", "this is no HTTP that can be read, or its headers are too long"
            )

        def _too_slow(self) -> None:
            self._timer = None
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self._refuse(408, "slow", f"the headers did not arrive within {seconds:g} seconds")

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _refuse(self, status: int, reason: str, sentence: str) -> None:
            measures.rejected.labels(reason).inc()
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                body = json.dumps({"detail": sentence}).encode()
                headers = [
                    ("Content-Type", "application/json"),
                    ("Content-Length", str(len(body))),
                    ("Connection", "close"),
                ]
                for event in (
                    h11.Response(
                        status_code=status, headers=headers, reason=HTTPStatus(status).phrase
                    ),
                    h11.Data(data=body),
                    h11.EndOfMessage(),
                ):
                    self.transport.write(self.conn.send(event))
            self.transport.close()

    return Patient
