"""Training over the nodes of a cluster: PyTorch's launcher on each, all processes one group.

``python -m stages.train.nodes HOST:PORT NODES`` is what runs on a node.
"""

import os
import socket
import sys

import psutil
import torch
import torch.distributed as dist

from stages import UserError, cluster, node_processes, run
from stages.node_processes import NodeLost
from stages.train import distributed

FORWARDED = ("DVC", "TAGLOOM_CACHE")  # what variables begin with that nodes are told


def check() -> None:
    """Raises a ``UserError`` where nothing says which cluster ``train.devices`` means."""
    if not cluster.is_asked_for():
        raise UserError(
            "train.devices is cluster, and nothing says which: set RAY_ADDRESS (docs/cluster.md), "
            "or train.devices to auto"
        )


def launch() -> None:
    """Runs the stage on all nodes; where one is lost, on those that are left.

    The checkpoint and what the processes share lie in the project's folder, so whichever nodes
    there are go on after the last whole epoch.

    Raises:
        UserError: none of the cluster is left.
        SystemExit: a process failed, and has said why.
    """
    nodes = node_processes.nodes()
    for _ in range(len(nodes)):
        # Here, so that it outlives each of the nodes; anew, for it knows who is gone.
        meeting = dist.TCPStore(cluster.address(), 0, is_master=True, wait_for_workers=False)
        command = [sys.executable, "-m", __name__, f"{meeting.host}:{meeting.port}"]
        told = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
        try:
            for line in node_processes.run_on(nodes, [*command, str(len(nodes))], told):
                print(line, end="", flush=True)
            return
        except NodeLost:
            nodes = node_processes.nodes()
            print(f"train: a node of the cluster is gone; going on with {len(nodes)}", flush=True)
    raise UserError("the cluster has no node with cores for Ray, or has lost all that it had")


def main() -> None:
    distributed.end_with_parent()
    meeting, nodes = sys.argv[1:]
    devices = torch.cuda.device_count() or 1  # those that Ray has given to this process
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))  # as many as Ray has given cores
    os.environ["OMP_NUM_THREADS"] = str(max(1, threads // devices))
    here = _address_towards(meeting.partition(":")[0])
    # Left alone, gloo takes what the machine's own name leads to, often itself.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface(here))
    distributed.launch(devices, int(nodes), meeting, here)


def _address_towards(host: str) -> str:
    """This machine's address on the network that leads to ``host``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # sends nothing
        address: str = probe.getsockname()[0]
    return address


def _interface(address: str) -> str:
    interfaces = psutil.net_if_addrs().items()
    return next(name for name, on in interfaces if any(each.address == address for each in on))


if __name__ == "__main__":
    run(main)
