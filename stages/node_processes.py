"""One process on each node of a Ray cluster at the same time, where pieces of work will not do."""

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from stages import cluster

GONE_WITHIN = 60  # seconds in which Ray finds out that a node is gone


class NodeLost(Exception):
    """A node is gone, and with it what ran there."""


class Node(NamedTuple):
    """What Ray may use of a node."""

    cores: int
    gpus: int


def nodes() -> list[Node]:
    """The nodes that there are by now; where some have GPUs, only these."""
    there = [node["Resources"] for node in cluster.connected().nodes() if node["Alive"]]
    every = [Node(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in there]
    return [node for node in every if node.gpus] or [node for node in every if node.cores]


def run_on(nodes: list[Node], command: list[str], environment: dict[str, str]) -> Iterator[str]:
    """Runs ``command`` once on each node, with all cores and GPUs that Ray may use there.

    It starts when all of them are free, in the folder of this process. Where it fails on one node,
    or nobody asks for its lines any more, its parents are killed: it has to end without them.

    Args:
        environment: variables beside those of the node; it is not told of Ray.

    Yields:
        The lines that it writes on any node, to either stream.

    Raises:
        NodeLost: a node went, and the command ended for want of it: it was killed there, or its
            exit status elsewhere is ``os.EX_TEMPFAIL``.
        SystemExit: it failed; its lines say why.
        UserError: Ray has killed it, or a node does not find the folder.
    """
    ray = cluster.connected()
    from ray.util.placement_group import placement_group, remove_placement_group

    bundles = [{"CPU": node.cores, "GPU": node.gpus} for node in nodes]
    bundles = [{name: count for name, count in each.items() if count} for each in bundles]
    places = placement_group(bundles, strategy="STRICT_SPREAD")
    running: list[Any] = []
    try:
        while not places.wait(cluster.SECONDS):
            print(f"waiting until {len(nodes)} nodes of the cluster are free", flush=True)
        used = _alive(ray)
        running += [
            _started(ray, places, number, command, environment) for number in range(len(nodes))
        ]
        while running:
            (lines,), _ = ray.wait(running, num_returns=1)
            try:
                line = ray.get(next(lines))
            except StopIteration:
                running.remove(lines)
                continue
            except ray.exceptions.RayError as error:
                if not isinstance(error, ray.exceptions.RayTaskError):
                    _check_all_there(ray, used)
                raise cluster.raised_by(error, "a process") from error
            if isinstance(line, str):
                yield line
            elif line:
                if line == os.EX_TEMPFAIL:
                    _check_all_there(ray, used)
                raise SystemExit(line)
    finally:
        for lines in running:
            ray.cancel(lines, force=True)
        remove_placement_group(places)


def _alive(ray: Any) -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _check_all_there(ray: Any, used: set[str]) -> None:
    """Raises a ``NodeLost`` where one of the nodes ``used`` is gone, or is found to be, soon."""
    deadline = time.monotonic() + GONE_WITHIN
    while time.monotonic() < deadline:
        if used - _alive(ray):
            raise NodeLost
        time.sleep(1)


def _started(
    ray: Any, places: Any, number: int, command: list[str], environment: dict[str, str]
) -> Any:
    """The generator of the lines of ``command`` at a place of a group, and of its exit status."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    bundle = places.bundle_specs[number]
    remote = ray.remote(
        num_cpus=bundle.get("CPU", 0),
        num_gpus=bundle.get("GPU", 0),
        num_returns="streaming",
        max_retries=0,
        scheduling_strategy=PlacementGroupSchedulingStrategy(places, number),
    )(_lines)
    return remote.remote(os.getcwd(), command, environment)


def _lines(folder: str, command: list[str], environment: dict[str, str]) -> Iterator[str | int]:
    """What a worker of Ray's runs."""
    cluster.enter(folder)
    rays = ("RAY_", "TAGLOOM_ENGINE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(rays)}
    with subprocess.Popen(
        command,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:  # noqa: UP028 — Ray sends to what yields, and a file takes nothing
            yield line
    yield process.returncode
