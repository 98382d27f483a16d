"""How long a cluster would take for ten and a hundred million photos, ``cluster.spread`` simulated.

``python -m benchmarks.schedule`` prints the tables of benchmarks/scale.md. Simulated is what the
stage that starts it does, one piece of work after the other: it makes a piece, hands it to the core
that is free first, keeps to the bounds of ``spread``, and takes the results in the pieces' order.
A core takes a lognormal time for a piece, some nodes are slow, nodes fail and are replaced, and all
read and write through one file system. What goes in was measured on one machine, or is assumed, and
stands below; nobody has run it on so many nodes.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np

from stages.cluster import AHEAD, HELD

HOUR = 3600.0
COUNTS = (10**7, 10**8)
NODES = (1, 10, 100)
DRAWS = 2**16  # times of pieces that are drawn; then the same again
WINDOW_PIECES = 200_000


@dataclass(frozen=True)
class Work:
    """What a stage spreads.

    Attributes:
        photos: in a piece.
        seconds: of a core, a photo.
        head: seconds of the stage itself, a photo, while pieces are under way.
        alone: seconds of the stage, a photo, before and after that.
        moved: bytes read and written, a photo.
        memory: of the stage in the end, in bytes a photo.
    """

    photos: int
    seconds: float
    head: float = 0.0
    alone: float = 0.0
    moved: float = 0.0
    memory: float = 0.0


# Of one core and photos of 224 pixels, by ``python -m benchmarks cluster features predict store``.
# What ingest's head takes for a row ``cluster`` prints; a profile of 400,000 rows says that 40 % of
# it is while pieces are under way. The head of features holds three numbers a photo.
RAW, JPEG, READ = 150_528, 15_400, 15_000  # bytes a photo, as it is stored and as its file is
HEAD = {"head": 20e-6, "alone": 31e-6, "memory": 51.0}
WORKS = {
    "ingest": Work(512, 1 / 814, moved=READ + RAW, **HEAD),
    "ingest, `store: jpeg`": Work(512, 1 / 814 + 3e-4, moved=READ + JPEG, **HEAD),
    "features of SqueezeNet": Work(64, 1 / 50, moved=RAW, memory=24),
    "predict, SqueezeNet": Work(128, 1 / 43.4, moved=RAW, memory=270),
}


@dataclass(frozen=True)
class Cluster:
    """What is assumed of a cluster."""

    nodes: int
    cores: int = 16  # of a node
    bandwidth: float = 5e9  # of the file system that all share, bytes/s
    piece: float = 1.7e-3  # seconds of the head for each piece: ``python -m benchmarks cluster``
    deviation: float = 0.3  # of the logarithm of a piece's time
    slow: float = 0.05  # of the nodes are
    slowness: float = 4.0  # times as long as the others
    failures: float = 0.01  # of a node, an hour
    noticed: float = 30.0  # seconds until a lost node is
    replaced: float = 600.0  # seconds until there is another


class Policy(NamedTuple):
    """The bounds of ``spread`` for each core: pieces under way, and those with results waiting."""

    ahead: int
    held: int


POLICY = Policy(AHEAD, HELD)


class Outcome(NamedTuple):
    """How it went.

    Attributes:
        seconds: that pieces were under way.
        head, files, cores: how much of that time these were at work.
        lost: pieces, and done again.
    """

    seconds: float
    head: float
    files: float
    cores: float
    lost: int

    @property
    def bound(self) -> str:
        """What was at work most."""
        return max(("head", "files", "cores"), key=lambda name: getattr(self, name))


def simulate(
    pieces: int, work: Work, cluster: Cluster, policy: Policy = POLICY, seed: int = 0
) -> Outcome:
    """Has so many ``pieces`` done, as ``cluster.spread`` has."""
    rng = np.random.default_rng(seed)
    nodes, cores = _Nodes(cluster, rng), cluster.nodes * cluster.cores
    drawn = rng.lognormal(-(cluster.deviation**2) / 2, cluster.deviation, DRAWS)  # their mean is 1
    head = cluster.piece + work.head * work.photos
    moving = work.moved * work.photos / cluster.bandwidth
    under_way: list[float] = []  # a heap of when they end, as far as the head does not know it
    results = deque[float]()  # when each ends that the head has not taken
    now = moved = 0.0
    for time in islice(cycle(drawn.tolist()), pieces):
        now += head
        moved = max(moved, now) + moving
        end = nodes.end(now, time * work.seconds * work.photos, moved)
        heapq.heappush(under_way, end)
        results.append(end)
        if len(under_way) >= policy.ahead * cores:
            now = max(now, *(heapq.heappop(under_way) for _ in range(cores)))
        if len(results) >= policy.held * cores:
            now = max(now, results[0])
        while results and results[0] <= now:
            results.popleft()
    seconds = max(now, *results) if results else now
    at_work = pieces * head, pieces * moving, nodes.busy / cores
    in_head, in_files, in_cores = (each / seconds for each in at_work)
    return Outcome(seconds, in_head, in_files, in_cores, nodes.lost)


class _Nodes:
    """Cores of nodes, of which some are slow, and each fails now and then."""

    def __init__(self, cluster: Cluster, rng: np.random.Generator) -> None:
        self._cluster, self._rng = cluster, rng
        slow = round(cluster.slow * cluster.nodes)
        self._slowness = [cluster.slowness] * slow + [1.0] * (cluster.nodes - slow)
        self._failures = [self._failure(0.0) for _ in range(cluster.nodes)]
        self._free = [(0.0, node) for node in range(cluster.nodes) for _ in range(cluster.cores)]
        self.busy, self.lost = 0.0, 0

    def _failure(self, after: float) -> float:
        rate = self._cluster.failures / HOUR
        return after + float(self._rng.exponential(1 / rate)) if rate else math.inf

    def end(self, asked: float, seconds: float, moved: float) -> float:
        """When a piece ends that the core takes that is free first.

        Args:
            asked: when it was handed over.
            seconds: that a core takes.
            moved: when the file system is done with it, at the earliest.
        """
        while True:
            free, node = heapq.heappop(self._free)
            start = max(free, asked)
            if start >= self._failures[node] + self._cluster.replaced:  # it is another node now
                self._failures[node] = self._failure(start)
            end = max(start + seconds * self._slowness[node], moved)
            failure = self._failures[node]
            if end <= failure:
                heapq.heappush(self._free, (end, node))
                self.busy += end - start
                return end
            heapq.heappush(self._free, (failure + self._cluster.replaced, node))
            if start < failure:
                self.lost += 1
                asked = failure + self._cluster.noticed


def table() -> Iterator[str]:
    yield (
        "| stage | photos | " + " | ".join(f"{n} × 16 cores" for n in NODES) + " | head's memory |"
    )
    yield "|---|---|" + "---|" * (len(NODES) + 1)
    for name, work in WORKS.items():
        for photos in COUNTS:
            cells = [hours(photos, work, Cluster(nodes)) for nodes in NODES]
            memory = f"{photos * work.memory / 1e9:,.0f} GB"
            yield f"| {name} | {photos:,} | {' | '.join(cells)} | {memory} |"


def hours(photos: int, work: Work, cluster: Cluster, policy: Policy = POLICY) -> str:
    outcome = simulate(math.ceil(photos / work.photos), work, cluster, policy)
    share = getattr(outcome, outcome.bound)
    total = (photos * work.alone + outcome.seconds) / HOUR
    return f"{total:.2g} h, {outcome.bound} {share:.0%}"


def windows() -> Iterator[str]:
    """How much of the time 1,600 cores are at work when nothing but the order holds them up."""
    yield "| pieces and results a core, at most | " + " | ".join(WORKS) + " |"
    yield "|---|" + "---|" * len(WORKS)
    for held in (AHEAD, 2 * AHEAD, 4 * AHEAD, 8 * AHEAD, 16 * AHEAD):
        cells = []
        for work in WORKS.values():
            free = replace(work, head=0.0, moved=0.0)
            cluster = replace(Cluster(100), piece=0.0)
            outcome = simulate(WINDOW_PIECES, free, cluster, Policy(AHEAD, held))
            cells.append(f"{outcome.cores:.0%}")
        yield f"| {held} | {' | '.join(cells)} |"


def main() -> None:
    for lines in (table(), windows()):
        for line in lines:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
