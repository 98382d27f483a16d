"""The service for an hour, asked by 64 clients of whom one request in ten is hostile.

``python -m benchmarks.soak --minutes 60``, with the bundle that TAGLOOM_BUNDLE names, else the
project's. Every request is to be answered, and memory at the end to be what it was after a minute,
within 5 %. Hostile is what the tests send: files that are bombs or no photos, broken forms, bytes
that are no HTTP; and clients that go in the middle, who wait for nothing. ``python -m benchmarks``
leaves it out.
"""

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from benchmarks.samples import captions, photos
from benchmarks.serve import request
from benchmarks.table import HEADER, Row, machine
from stages.bundle.bundle import BUNDLE
from tests.hostile import FILES, FORM, RAW, UPLOADS, form, part

CLIENTS, HOSTILE, GOING = 64, 0.1, 0.01  # requests that are hostile, and clients that go
PHOTOS = 500
WARM = 60.0  # seconds until memory is what it is compared with
LONGEST = 120.0  # seconds that an answer may take
EVERY = 2.0  # seconds between two looks at memory
LIMITS = ("--max-photo=1", "--max-request=4")  # MB, which the hostile files are made for
MB = 2**20
# Who has sent all there is may be asked to go on, by which the service finds who has gone.
ANSWER = re.compile(rb"(?:HTTP/1\.1 1\d\d [^\r]*\r\n\r\n)*HTTP/1\.1 ([2-5]\d\d)")


@dataclass
class Soak:
    """What came of it.

    Attributes:
        sent: requests whose answer was waited for.
        statuses: of the answers, by how many had it.
        unanswered: by what was sent, how often nothing, or no HTTP, came back.
        memory: seconds since the start and MB of the service's processes together.
    """

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)

    async def run(self, port: int, process: int, usual: Sequence[bytes], seconds: float) -> None:
        """Asks until ``seconds`` have gone by."""
        odd, started = hostile(), time.monotonic()
        watching = asyncio.create_task(self._watch(process, started))
        end = started + seconds
        clients = (self._client(port, usual, odd, end, number) for number in range(CLIENTS))
        await asyncio.gather(*clients)
        watching.cancel()

    async def _watch(self, process: int, started: float) -> None:
        while True:
            used = await asyncio.to_thread(memory_of, process)
            self.memory.append((time.monotonic() - started, used))
            await asyncio.sleep(EVERY)

    async def _client(
        self,
        port: int,
        usual: Sequence[bytes],
        odd: Sequence[tuple[str, bytes]],
        end: float,
        number: int,
    ) -> None:
        lot = random.Random(number)
        while time.monotonic() < end:
            if lot.random() < HOSTILE:
                await self._ask(port, *lot.choice(odd))
            elif lot.random() < GOING:
                await go(port, lot.choice(usual), lot)
            else:
                status = await self._ask(port, "photo", lot.choice(usual))
                await asyncio.sleep(0.1 if status == 429 else 0)

    async def _ask(self, port: int, kind: str, content: bytes) -> int | None:
        self.sent += 1
        try:
            async with asyncio.timeout(LONGEST):
                answer = await exchange(port, content)
        except (OSError, TimeoutError):
            answer = b""
        found = ANSWER.match(answer)
        if found is None:
            self.unanswered[kind] += 1
            return None
        self.statuses[int(found[1])] += 1
        return int(found[1])

    def level(self, first: float, last: float) -> float:
        """The median of memory between two times, MB."""
        return median(used for at, used in self.memory if first <= at <= last)

    def levels(self, first: float, last: float, count: int) -> list[float]:
        """Memory at ``count`` times, as far from each other, MB."""
        times = [first + (last - first) * n / (count - 1) for n in range(count)]
        return [min(self.memory, key=lambda seen: abs(seen[0] - at))[1] for at in times]


async def exchange(port: int, content: bytes) -> bytes:
    """The answer to all of ``content``, or the beginning of it that is there before the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        sending = asyncio.create_task(send(writer, content))
        with suppress(ConnectionError):
            while chunk := await reader.read(2**16):
                answer += chunk
        sending.cancel()
    finally:
        writer.close()
    return answer


async def send(writer: asyncio.StreamWriter, content: bytes) -> None:
    with suppress(OSError):  # the other side has heard enough
        writer.write(content)
        await writer.drain()
        writer.write_eof()


async def go(port: int, content: bytes, lot: random.Random) -> None:
    """Sends a part of a request, or all of it, and goes."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content[: lot.randrange(len(content) + 1)])
    await asyncio.sleep(lot.random() * 0.1)
    writer.close()


def hostile() -> list[tuple[str, bytes]]:
    """What each of the tests' hostile requests is called, and its bytes."""
    files = [(each.kind, form(part("photos", each.content, each.name)), FORM) for each in FILES]
    forms = [(each.kind, each.body, each.headers) for each in UPLOADS]
    made = [(kind, whole(body, headers)) for kind, body, headers in files + forms]
    return made + [(kind, content) for kind, (content, _) in RAW.items()]


def whole(body: bytes, headers: dict[str, str]) -> bytes:
    lines = ["POST /predict HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def memory_of(process: int) -> float:
    """MB that a process and those below it hold, what they share counted once."""
    with suppress(psutil.Error):
        parent = psutil.Process(process)
        total = 0
        for each in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):  # ended meanwhile
                total += each.memory_full_info().pss
        return total / MB
    return 0.0


@contextmanager
def serving(folder: Path, options: Sequence[str], log: Path) -> Iterator[tuple[int, int]]:
    """The port of a service and its process; what it logs goes to ``log``."""
    command = [sys.executable, "-m", "tagloom", "serve", "--port=0", f"--bundle={folder}"]
    with log.open("w") as file:
        process = subprocess.Popen([*command, *LIMITS, *options], stderr=file)
    try:
        for _ in range(600):
            if found := re.search(r"running on http://127.0.0.1:(\d+)", log.read_text("utf-8")):
                yield int(found[1]), process.pid
                return
            time.sleep(0.1)
        sys.exit(f"the service did not start; see {log}")
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--shared", type=Path, default=os.environ.get("TAGLOOM_SHARED"))
    parser.add_argument("option", nargs="*", help="of tagloom serve, after --")
    options = parser.parse_args()
    folder, soak = Path(os.environ.get("TAGLOOM_BUNDLE", BUNDLE)), Soak()
    seconds = max(WARM * 2, options.minutes * 60)
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        files = photos(Path(name) / "photos", PHOTOS, options.shared)
        told = captions(PHOTOS, options.shared).to_list()
        usual = [request(f.read_bytes(), text) for f, text in zip(files, told, strict=True)]
        log = Path(name) / "log"
        with serving(folder, options.option, log) as (port, process):
            asyncio.run(soak.run(port, process, usual, seconds))
        errors = log.read_text("utf-8").count("Traceback")
    statuses = ", ".join(f"{n:,} × {status}" for status, n in sorted(soak.statuses.items()))
    missed = ", ".join(f"{n} × {kind}" for kind, n in soak.unanswered.most_common(5))
    print(f"{machine()}\n\n{HEADER}")
    print(
        Row(
            f"tagloom serve, {CLIENTS} clients, {HOSTILE:.0%} hostile, {seconds / 60:g} minutes: "
            "answered",
            "requests",
            "",
            [sum(soak.statuses.values())],
            [soak.sent],
            "≥ 1",
            "; ".join(filter(None, [statuses, missed, f"{errors} tracebacks"])),
        )
    )
    print(
        Row(
            "… memory at the end",
            "after a minute",
            "MB",
            [soak.level(seconds - WARM / 2, seconds)],
            [soak.level(WARM, WARM * 1.5)],
            "≤ 1.05",
            f"{max(used for _, used in soak.memory):,.0f} MB at the most; after each fifth of the "
            "time " + ", ".join(f"{used:,.0f}" for used in soak.levels(WARM, seconds, 6)),
        )
    )


if __name__ == "__main__":
    main()
