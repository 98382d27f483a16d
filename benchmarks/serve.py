"""The service beside ``tagloom predict``, its latency, and what it does when too much is asked.

The model is the bundle that TAGLOOM_BUNDLE names, else the project's. The service is a process of
its own and is asked on loopback, by connections that each ask again once they are answered; all of
it is bounded by the number of photos. The client, which only sends what it has ready and counts,
shares the cores with the service: its share is in the notes.
"""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from threading import Thread

from benchmarks.samples import captions, photos
from benchmarks.table import Options, Row, in_turn, main
from stages.bundle.bundle import BUNDLE
from stages.bundle.model import Model, load_model
from stages.network.allocation import keep_freed_memory
from tagloom.inputs import Asked
from tagloom.prefetch import batches

MOST_PHOTOS = 600
BATCH_SIZE = 32
CLIENTS = (1, 8, 64)
ALLOWED, TOO_MANY = 8, 64  # requests at once, and clients, of an overload
BOUNDARY = b"photo-after-photo"


def rows(options: Options) -> Iterator[Row]:
    folder = Path(os.environ.get("TAGLOOM_BUNDLE", BUNDLE))
    what = "tagloom serve"
    if options.gpu or not folder.is_dir():
        why = "on the CPU only" if options.gpu else f"there is no {folder}: dvc repro bundle"
        yield Row(what, "tagloom predict", "photos/s", [], [], "≥ 0.80", why)
        return
    keep_freed_memory()  # as the command does
    count = min(options.photos, MOST_PHOTOS)
    model = load_model(folder)
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        files = photos(Path(name) / "photos", count, options.shared)
        told = captions(count, options.shared).to_list()
        asked = [Asked(file.name, file, caption) for file, caption in zip(files, told, strict=True)]
        requests = [
            request(file.read_bytes(), caption) for file, caption in zip(files, told, strict=True)
        ]
        predict(model, asked[:BATCH_SIZE])  # warms up
        with serving(folder) as port:
            yield from throughput(options, model, asked, requests, port)
        with serving(folder, "--max-requests", str(ALLOWED)) as port:
            yield overload(requests, port)


def throughput(
    options: Options, model: Model, asked: Sequence[Asked], requests: Sequence[bytes], port: int
) -> Iterator[Row]:
    """Speed beside ``tagloom predict``, and latencies by the number of clients."""
    runs: dict[int, list[Load]] = {clients: [] for clients in CLIENTS}

    def ours() -> float:
        for clients in CLIENTS:
            runs[clients].append(Load.of(port, requests[: 50 * clients], clients))
        return runs[CLIENTS[-1]][-1].rate

    found, theirs = in_turn(options.repeats, ours, lambda: predict(model, asked))
    share = median(run.client_share for run in runs[CLIENTS[-1]])
    inputs, size = model.bundle.inputs, model.bundle.stored_size
    yield Row(
        f"tagloom serve, {model.bundle.description.backbone} at {size}, {inputs}, "
        f"{CLIENTS[-1]} clients with a photo each",
        f"tagloom predict, batches of {BATCH_SIZE}",
        "photos/s",
        found,
        theirs,
        "≥ 0.80",
        f"the client takes {share:.0%} of a core",
    )
    for clients, loads in runs.items():
        p95, p99 = (median(load.percentile(p) for load in loads) for p in (95, 99))
        yield Row(
            f"… its latency, {clients} client{'s' * (clients > 1)}, median",
            f"{clients} photo{'s' * (clients > 1)} at the speed of tagloom predict",
            "ms",
            [1000 * load.percentile(50) for load in loads],
            [1000 * clients / rate for rate in theirs],
            note=f"95 % within {1000 * p95:.0f} ms, 99 % within {1000 * p99:.0f} ms",
        )


def overload(requests: Sequence[bytes], port: int) -> Row:
    """Far more clients than may ask at once; whoever is told to come back asks at once again."""
    load = Load.of(port, requests, TOO_MANY)
    counted = sum(load.statuses[status] for status in (200, 429))
    return Row(
        f"… {TOO_MANY} clients where {ALLOWED} may ask at once: answered, or told to come back",
        "requests",
        "",
        [counted],
        [load.sent],
        "≥ 1",
        f"{load.statuses[200]} answered, {load.statuses[429]} told to come back, the slowest after "
        f"{1000 * max(load.refused):.0f} ms",
    )


def predict(model: Model, asked: Sequence[Asked]) -> float:
    """Photos a second of what ``tagloom predict`` does between its start and its end."""
    form, started = model.bundle.form, time.perf_counter()
    for batch in batches(asked, {form}, BATCH_SIZE, []):
        model.probabilities(batch.pixels[form], batch.captions)
    return len(asked) / (time.perf_counter() - started)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[int]:
    """The port of a service that has answered a batch."""
    command = [sys.executable, "-m", "tagloom", "serve", "--port=0", f"--bundle={folder}"]
    process = subprocess.Popen(
        [*command, f"--batch-size={BATCH_SIZE}", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr:
            if found := re.search(r"running on http://127.0.0.1:(\d+)", line):
                # Nobody reads its log, a line a request, which would fill the pipe.
                Thread(target=process.stderr.read, daemon=True).start()
                yield int(found[1])
                return
        sys.exit("the service did not start")
    finally:
        process.terminate()
        process.wait()


def request(photo: bytes, caption: str) -> bytes:
    """A whole POST /predict."""
    head = b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n'
    body = head % (BOUNDARY, b"photos", b'; filename="photo.jpg"') + photo + b"\r\n"
    body += head % (BOUNDARY, b"captions", b"") + caption.encode() + b"\r\n--%b--\r\n" % BOUNDARY
    lines = (
        b"POST /predict HTTP/1.1",
        b"Host: localhost",
        b"Content-Type: multipart/form-data; boundary=" + BOUNDARY,
        b"Content-Length: %d" % len(body),
    )
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@dataclass
class Load:
    """What came of requests that so many clients made, one after the other each.

    Attributes:
        sent: requests, those again that were told to come back.
        statuses: of the answers, by how many had it.
        answered, refused: seconds until each answer of status 200, and of any other.
        seconds: that all of it took.
        client_share: of a core, that the client took.
    """

    sent: int = 0
    statuses: Counter = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=lambda: [0.0])
    seconds: float = 0.0
    client_share: float = 0.0

    @classmethod
    def of(cls, port: int, requests: Sequence[bytes], clients: int) -> "Load":
        load = cls()
        started, worked = time.perf_counter(), time.process_time()
        asyncio.run(load._run(port, requests, clients))
        load.seconds = time.perf_counter() - started
        load.client_share = (time.process_time() - worked) / load.seconds
        return load

    @property
    def rate(self) -> float:
        return self.statuses[200] / self.seconds

    def percentile(self, share: int) -> float:
        return quantiles(self.answered, n=100, method="inclusive")[share - 1]

    async def _run(self, port: int, requests: Sequence[bytes], clients: int) -> None:
        waiting = iter(requests)
        await asyncio.gather(*(self._client(port, waiting) for _ in range(clients)))

    async def _client(self, port: int, waiting: Iterator[bytes]) -> None:
        for each in waiting:
            while await self._ask(port, each) == 429:
                await asyncio.sleep(0.1)

    async def _ask(self, port: int, content: bytes) -> int:
        self.sent += 1
        started = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(content)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        await reader.readexactly(length)
        writer.close()
        status = int(head[9:12])
        seconds = time.perf_counter() - started
        self.statuses[status] += 1
        (self.answered if status == 200 else self.refused).append(seconds)
        return status


if __name__ == "__main__":
    main(rows, __file__)
