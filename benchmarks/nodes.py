"""A cluster of Ray's on this machine, of nodes that share nothing but its files.

``python -m benchmarks.nodes`` starts two nodes of one core each, says what ``RAY_ADDRESS`` to set,
and ends them when it is ended.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NODES = 2


@contextmanager
def nodes(count: int = NODES, cores: int = 1) -> Iterator[Any]:
    """A ``ray.cluster_utils.Cluster`` of ``count`` nodes; ``address`` is what to connect to.

    Who has connected in this process is not any more when the nodes end.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False}
    )
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=cores)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    with nodes() as started:
        print(f"export RAY_ADDRESS={started.address}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
