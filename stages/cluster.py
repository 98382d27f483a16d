"""Pieces of work on the nodes of a cluster, by Ray, where it is asked for.

``RAY_ADDRESS`` names a cluster, ``auto`` the one that this machine is a node of; with
``TAGLOOM_ENGINE=ray`` and no address Ray starts one on the cores of this machine. Without either,
Ray is not imported. Its workers find the project at the path that it has here, on a file system
that all nodes share, and read photos, store and bundle from there. What they answer is what one
machine answers, so no hash of DVC's changes.
"""

import logging
import os
import platform
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from stages import UserError

Common = TypeVar("Common")
Piece = TypeVar("Piece")
Result = TypeVar("Result")

AHEAD = 3  # pieces for each core of the cluster under way, at most,
HELD = 12  # and with those that are done while one before them is not
SECONDS = 10  # for the head of a cluster to answer
RETRIES = 3  # of a piece whose worker or node was lost

_is_worker = False


@dataclass(eq=False)
class Done:
    """Stands among pieces for one that needs no core: its result, whatever that is."""

    result: Any


def is_asked_for() -> bool:
    """Whether work is to be spread over a cluster; False in the processes that Ray has started.

    Raises:
        UserError: ``TAGLOOM_ENGINE`` names none that there is.
    """
    if (engine := os.environ.get("TAGLOOM_ENGINE", "")) not in ("", "ray"):
        raise UserError(f"TAGLOOM_ENGINE is {engine}, which is none; the one there is, is ray")
    return not _is_worker and bool(engine or os.environ.get("RAY_ADDRESS"))


def spread(
    function: Callable[[Common, Piece], Result], common: Common, pieces: Iterable[Piece | Done]
) -> Iterator[Result]:
    """``function(common, piece)`` of each piece, on as many cores as the cluster has; in order.

    A few pieces for each core are taken before they are asked for. One whose worker or node is lost
    is done again on another.

    Args:
        function: of a module, for it is found by its name; it has one core.
        common: sent to each node once.

    Raises:
        UserError: as ``function`` does; Ray is not installed or not reached, or pieces were lost
            again and again.
    """
    ray = connected()
    remote = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_work)
    common_there, folder = ray.put(common), os.getcwd()
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    results, running = deque[Any](), set[Any]()  # those not yielded; of these, not known to be done
    try:
        for piece in pieces:
            if isinstance(piece, Done):
                results.append(piece)
            else:
                results.append(remote.remote(folder, function, common_there, piece))
                running.add(results[-1])
            if len(running) >= AHEAD * cores:
                # For so many at once: to look at all takes long where there are many.
                running -= set(ray.wait([*running], num_returns=cores, fetch_local=False)[0])
            if len(results) >= HELD * cores:
                running.discard(results[0])
            while results and results[0] not in running:
                yield _result(results.popleft())
        while results:
            yield _result(results.popleft())
    except ray.exceptions.RayError as error:
        raise raised_by(error, "a piece of work") from error
    finally:
        left = [each for each in results if not isinstance(each, Done)]
        for each in left:
            ray.cancel(each)
        if left:  # none writes any more where the caller clears up
            ray.wait(left, num_returns=len(left), timeout=SECONDS, fetch_local=False)


def _result(of: Any) -> Any:
    import ray

    return of.result if isinstance(of, Done) else ray.get(of)


def raised_by(error: Exception, what: str) -> Exception:
    """What a function raised on a node, or that the cluster lost ``what``, by an error of Ray's."""
    import ray

    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception) and not isinstance(cause, ray.exceptions.RayError):
        return cause
    reason = str(error).partition("\n")[0]
    return UserError(f"the cluster lost {what}: {reason}")


def connected() -> Any:
    """The module ``ray``, connected."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would tell its makers of the cluster
    os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"  # of pieces after one that has ended it all
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "RAY_ADDRESS or TAGLOOM_ENGINE asks for Ray, which is not installed: "
            "pip install 'tagloom[ray]'"
        ) from error
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS")
        try:
            host, _, port = (address or "").rpartition(":")
            if port.isdecimal():  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), SECONDS).close()
            ray.init(
                address=address,
                include_dashboard=None if address else False,
                logging_level=logging.WARNING,
            )
        except (OSError, ray.exceptions.RayError) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise UserError(
                f"no Ray cluster answers at {address} (RAY_ADDRESS): {reason}; of a cluster that "
                "was started by ray start, RAY_AUTH_MODE=token and its token may be missing "
                "(docs/cluster.md)"
            ) from error
    return ray


def address() -> str:
    """This machine's, as the cluster knows it."""
    return str(connected().util.get_node_ip_address())


def _work(
    folder: str, function: Callable[[Common, Piece], Result], common: Common, piece: Piece
) -> Result:
    """What a worker of Ray's runs, in the folder that the stage runs in."""
    global _is_worker  # noqa: PLW0603
    _is_worker = True
    enter(folder)
    return function(common, piece)


def enter(folder: str) -> None:
    """Makes ``folder`` that of this process, on any node."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"the node {platform.node()} of the cluster cannot enter {folder}: {error.strerror}; "
            "all nodes find the project's folder at the same path (docs/cluster.md)"
        ) from error
