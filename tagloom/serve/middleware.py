"""What stands before every route: whom it answers, how it ends, and what is counted.

A service on loopback is reached by any page that the browser of this machine has open. Such a page
may send it requests, under a name of its own that it has pointed here (DNS rebinding), and is not
to be answered.
"""

import asyncio
import ipaddress
import logging
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tagloom.serve.limits import Limits, Refused
from tagloom.serve.metrics import Metrics
from tagloom.serve.request_log import log_request, request_id

log = logging.getLogger("tagloom.serve")

LINGER = 2.0  # seconds in which the rest of a refused body is read, so that its client sees why
SECURITY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def refusal(refused: Refused, metrics: Metrics) -> Response:
    """The response to a request that is refused; counts it."""
    metrics.rejected.labels(refused.reason).inc()
    wait = refused.retry_after
    headers = None if wait is None else {"Retry-After": str(wait)}
    return JSONResponse({"detail": str(refused)}, refused.status, headers)


class RequestMiddleware:
    """Refuses what pages of other sites ask, ends what is refused in order, and counts requests.

    Args:
        hosts: names under which the service may be asked for, besides addresses in figures, which
            nobody can point elsewhere, and localhost.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str], limits: Limits, metrics: Metrics
    ) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self.names = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, method = Headers(scope=scope), scope["method"]
        if method == "HEAD":  # as GET; the protocol, which has its own scope, leaves the body out
            scope = {**scope, "method": "GET"}
        exchange = _Exchange(
            scope, receive, send, self.limits, request_id(headers.get("x-request-id"))
        )
        started = time.perf_counter()
        try:
            self._check(headers)
            await self.app(scope, exchange.receive, exchange.send)
        except Refused as refused:
            await refusal(refused, self.metrics)(scope, exchange.receive, exchange.send)
        except Exception:  # its answer is on its way; what it was is nobody's business but ours
            log.exception("a request ended with an error of ours")
        finally:
            path = getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - started
            self.metrics.requests.labels(path, exchange.status or "none").inc()
            self.metrics.seconds.labels(path).observe(seconds)
            photos = scope["state"].get("photos", 0)
            log_request(exchange.id, method, path, exchange.status, photos, seconds)

    def _check(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._serves(host):
            raise Refused(
                421,
                "host",
                "this service does not go by the name that was asked for; "
                "tagloom serve --allow-host makes it",
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_own_page(origin, host):
            raise Refused(403, "origin", "pages of other sites may not ask this service")

    def _serves(self, host: str) -> bool:
        name = _name(f"//{host}")
        return name in self.names or name == "localhost" or is_address(name)

    def _is_own_page(self, origin: str, host: str) -> bool:
        """Whether a page of the service asks; a proxy may have a name that it does not pass on."""
        return origin.partition("://")[2] == host or _name(origin) in self.names


def is_address(host: str) -> bool:
    """Whether it is an address in figures, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _name(address: str) -> str:
    """The host in an address, without its port; empty where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


class _Exchange:
    """A request and its response: its id, whether its body has been read, and its status."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits, id: str) -> None:
        self.id, self._app = id, scope["app"]
        self.status: int | None = None
        self._receive, self._send, self._most = receive, send, limits.request_bytes
        headers = Headers(scope=scope)
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._is_read = not has_body

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._is_read = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
            headers["x-request-id"] = self.id
            if not self._is_read or self._app.state.is_stopping:
                headers["connection"] = "close"
            await self._send(message)
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            # A connection that is closed while its client still writes is reset, and the answer
            # is lost on the way.
            await self._send({**message, "more_body": True})
            await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._send(message)

    async def _linger(self) -> None:
        read = 0
        try:
            async with asyncio.timeout(LINGER):
                while not self._is_read and read < self._most:
                    message = await self.receive()
                    read += len(message.get("body", b""))
        except TimeoutError:
            pass
