"""How much a request may ask of the service, and its refusal when that is too much."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what --help needs is imported without the extra serve
    from tagloom.serve.metrics import Metrics

MB = 2**20
CLIENT_GONE = 499  # nobody reads it; in the log, as in nginx's


@dataclass(frozen=True)
class Limits:
    """What a client may use.

    Attributes:
        photo_bytes, request_bytes: of one photo's file, and of a whole request with all its photos.
        held_bytes: of all requests together that are arriving or waiting.
        pixels: width × height of a photo.
        photos: in a request.
        caption: characters of one.
        seconds: for a request to arrive; as much again for its headers.
        requests: that are worked at. Those still arriving do not count, so that slow ones keep
            nobody out.
    """

    photo_bytes: int = 20 * MB
    request_bytes: int = 100 * MB
    held_bytes: int = 500 * MB
    pixels: int = 90_000_000
    photos: int = 64
    caption: int = 2000
    seconds: float = 30.0
    requests: int = 64


class Refused(Exception):
    """A request that is not answered: an HTTP status, one word for statistics, a sentence.

    Attributes:
        retry_after: seconds after which asking again makes sense; None: never.
    """

    def __init__(
        self, status: int, reason: str, sentence: str, retry_after: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.reason, self.retry_after = status, reason, retry_after


class Gate:
    """Counts what is in the house, and lets no more in than there is room for."""

    def __init__(self, limits: Limits, metrics: "Metrics") -> None:
        self.limits, self.metrics = limits, metrics
        self.requests = 0
        self.bytes = 0

    def check(self) -> None:
        """Refuses where as many requests are worked at as there may be."""
        if self.requests >= self.limits.requests:
            raise Refused(
                429,
                "busy",
                f"{self.requests} requests are being answered, as many as there may be; "
                "ask again in a moment",
                retry_after=1,
            )

    def __enter__(self) -> None:
        self.check()
        self.requests += 1
        self.metrics.in_flight.inc()

    def __exit__(self, *error: object) -> None:
        self.requests -= 1
        self.metrics.in_flight.dec()

    def hold(self, count: int) -> None:
        """Takes in so many bytes of a request; ``let_go`` gives them back."""
        if self.bytes + count > self.limits.held_bytes:
            raise Refused(
                429,
                "memory",
                "other requests hold all the memory there is for uploads; ask again in a moment",
                retry_after=1,
            )
        self.bytes += count
        self.metrics.held.inc(count)

    def let_go(self, count: int) -> None:
        self.bytes -= count
        self.metrics.held.dec(count)
