"""What ``/metrics`` says, in the words of Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
PHOTOS = (1, 2, 4, 8, 16, 32, 64, 128)


class Measures:
    """Counters of one service; ``registry`` holds them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        known = {"registry": self.registry, "namespace": "tagloom"}
        self.requests = Counter(
            "requests", "Requests that were answered", ["path", "status"], **known
        )
        self.seconds = Histogram(
            "request_seconds", "From its headers to its answer", ["path"], buckets=SECONDS, **known
        )
        self.in_flight = Gauge("requests_in_flight", "Requests that are worked at", **known)
        self.held = Gauge("held_bytes", "Bytes of requests that are held in memory", **known)
        self.rejected = Counter("rejected", "Requests that were refused", ["reason"], **known)
        self.photos = Counter("photos", "Photos, by what became of them", ["result"], **known)
        self.batches = Histogram(
            "batch_photos", "Photos that went through the network at once", buckets=PHOTOS, **known
        )
        self.decode = Histogram("decode_seconds", "Of one photo", buckets=SECONDS, **known)
        self.network = Histogram("network_seconds", "Of one batch", buckets=SECONDS, **known)
        self.loads = Counter(
            "model_loads", "New models, by whether they came in use", ["result"], **known
        )
        self.model = Info("model", "The model in use", **known)
