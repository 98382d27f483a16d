"""What ``/metrics`` says, in the words of Prometheus.

Of several workers it says the sum, whichever of them is asked: each writes into files in the folder
``SHARED``, which has to be there before this is imported.
"""

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SHARED = "PROMETHEUS_MULTIPROC_DIR"
PHOTOS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one process; ``registry`` holds them."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "tagloom_requests", "Requests that were answered", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "tagloom_request_seconds",
            "From its headers to its answer",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "tagloom_requests_in_flight",
            "Requests that are worked at",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.held = Gauge(
            "tagloom_held_bytes",
            "Bytes of requests that are held in memory",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.rejected = Counter(
            "tagloom_rejected", "Requests that were refused", ["reason"], registry=registry
        )
        self.photos = Counter(
            "tagloom_photos", "Photos, by what became of them", ["result"], registry=registry
        )
        self.batches = Histogram(
            "tagloom_batch_photos",
            "Photos that went through the network at once",
            buckets=PHOTOS,
            registry=registry,
        )
        self.decode = Histogram(
            "tagloom_decode_seconds", "Of one photo", buckets=SECONDS, registry=registry
        )
        self.network = Histogram(
            "tagloom_network_seconds", "Of one batch", buckets=SECONDS, registry=registry
        )
        self.loads = Counter(
            "tagloom_model_loads",
            "New models, by whether they came in use",
            ["result"],
            registry=registry,
        )
        self.model = Info("tagloom_model", "The model in use", registry=registry)

    def text(self) -> bytes:
        """In Prometheus's format: of all workers, but for the model, which is this one's."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        registry.register(self.model)
        return generate_latest(registry)
