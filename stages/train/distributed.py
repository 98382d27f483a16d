"""One training on several devices: a process each, which computes its slice of every batch.

The stage starts the processes itself, by PyTorch's own launcher, or joins those that ``torchrun``
has started, on one machine or several; ``stages.train.nodes`` starts them on those of a cluster.
The whole is what one device would do with the same batches: each process goes through the same rows
in the same order, DistributedDataParallel takes the mean of the gradients, batch norm sees the
whole batch. Only the first process, rank 0, writes and speaks. On one device there is no group, and
every method of ``Group`` hands back what it was given.
"""

import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from stages import UserError
from stages.network.batches import Shard
from stages.train.params import Devices

GRACE = 10  # seconds that processes have to end after a signal; they hold nothing to be saved
PATIENCE = timedelta(days=30)  # with what only rank 0 does; its end is noticed otherwise
GONE = ("gloo", "nccl", "connection")  # what the errors of a group that fell apart speak of

Made = TypeVar("Made")


@dataclass(frozen=True)
class Group:
    """The processes of a run, as one of them sees them.

    Attributes:
        device: to compute on.
        rank: the number of this process, from 0.
        size: how many there are.
        store: what they all can read and write by key; None where there is one process.
        place: the number of this process among those of its machine, whose ranks follow each other.
    """

    device: torch.device
    rank: int = 0
    size: int = 1
    store: dist.Store | None = None
    place: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """Whether it is the first of its machine."""
        return self.place == 0

    def shard(self, rows: int) -> Shard:
        """This device's part of a training batch; parts differ by one row at the most.

        Where there are fewer rows than devices, those without one compute the first with weight 0:
        each device has to take its part in every exchange.
        """
        part = self.part(rows)
        if part.start == part.stop:
            return Shard(rows, slice(0, 1), 0.0)
        return Shard(rows, part, (part.stop - part.start) * self.size / rows)

    def part(self, rows: int) -> slice:
        """This device's part of so many rows; the parts of all devices, by rank, are the whole."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def parallel(self, network: nn.Module) -> nn.Module:
        """Wraps ``network`` so that its gradients are the mean over the devices.

        To be called anew when other weights learn. The graph is static: weights that are never
        used, as some transformers have them, are found in the first step instead of in each.
        Buffers need no exchange: batch norm, which alone changes any, computes the same everywhere.
        """
        if self.size == 1:
            return network
        learner = DistributedDataParallel(network, gradient_as_bucket_view=True, static_graph=True)
        learner.broadcast_buffers = False  # the argument of that name is about to go
        return learner

    def synchronise(self, network: nn.Module) -> None:
        """Lets the network's batch norms see the whole batch, not this device's shard of it."""
        if self.size == 1:
            return
        if self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.__class__ = SyncedNorm  # has the same parts; torch's own is for GPUs

    def total(self, figures: torch.Tensor) -> torch.Tensor:
        """The sum over the devices of a tensor of figures that each has on its own."""
        if self.size > 1:
            figures = figures.clone()
            dist.all_reduce(figures)
        return figures

    def all(self, value: Made) -> list[Made]:
        """The ``value`` of each process, by rank."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def join(self, rows: torch.Tensor) -> torch.Tensor:
        """Concatenates the rows of all processes, by rank.

        Args:
            rows: (n, …) on the CPU; n may differ from process to process.
        """
        if self.size == 1:
            return rows
        counts = self.all(len(rows))
        # gloo moves tensors of one shape.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def from_first(self, make: Callable[[], Made]) -> Made:
        """Calls ``make`` in rank 0 alone and gives its result to all."""
        if self.size == 1:
            return make()
        box: list[Any] = [make() if self.is_first else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def from_first_here(self, make: Callable[[], Made]) -> Made:
        """Calls ``make`` in the first process of each machine and gives the result to the others.

        Every process has to call it.
        """
        made = self.all(make() if self.is_first_here else None)[self.rank - self.place]
        assert made is not None
        return made

    @contextmanager
    def first(self, what: str, here: bool = False) -> Iterator[None]:
        """A block that rank 0 goes through before the others: it may download, compute, write.

        They wait by way of the store, where there is no limit as there is for exchanges.

        Args:
            what: the name of the block, another one each time.
            here: the first process of each machine before the others of that machine.
        """
        first = self.rank - self.place if here else 0
        key = f"{what} {first}"
        if self.store is not None and self.rank != first:
            self.store.wait([key], PATIENCE)
        yield
        if self.store is not None and self.rank == first:
            self.store.set(key, "done")

    def check_same(self, key: str) -> None:
        """Checks that all processes come with the same key, of all that decides what they do.

        Raises:
            UserError: they do not.
        """
        if len(set(self.all(key))) > 1:
            raise UserError(
                "the processes of this run differ in parameters, data, code, versions or GPUs; "
                "bring the machines to the same state"
            )


class SyncedNorm(_BatchNorm):
    """Batch norm over the whole batch, for CPUs: what ``nn.SyncBatchNorm`` is for GPUs."""

    # None only in batch norms without running statistics, and no network here has any of those.
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor
    momentum: float

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Checks nothing: the batch norm that this one is made of took the same inputs."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(n, channels, …) → the same shape."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        axes = [axis for axis in range(values.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(values.ndim)]
        count = _Total.apply(values.new_tensor(float(values[:, 0].numel())))
        mean = _Total.apply(values.sum(axes)) / count
        centred = values - mean.view(shape)
        variance = _Total.apply(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scaled = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(input.dtype)


class _Total(torch.autograd.Function):
    """The sum over the processes, of a tensor and of its gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Total.forward(ctx, gradient)


ALONE = Group(torch.device("cpu"))


def is_joined() -> bool:
    """Whether a launcher started this process as one of several."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


def count(wish: Devices) -> int:
    """The devices of this machine that ``train.devices`` asks for."""
    gpus = torch.cuda.device_count()
    if isinstance(wish, str):
        return max(1, gpus)
    if wish > gpus > 0:
        raise UserError(f"train.devices is {wish}, but there are {gpus} GPUs; lower it")
    return wish


def launch(
    devices: int, nodes: int = 1, meeting: str = "localhost:0", here: str = "localhost"
) -> None:
    """Runs the stage in ``devices`` processes on this machine, as ``torchrun`` would.

    Args:
        nodes: machines that do so; the processes of all of them are one group.
        meeting: host and port of a store where they meet; port 0: this machine starts one.
        here: this machine's address, by which the others reach it.

    Raises:
        UserError: a process was killed.
        SystemExit: one failed, and has said why; with ``os.EX_TEMPFAIL`` only for want of others.
    """
    # Slow to import, and of no use in the processes themselves.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # It would tell of a process's end in a dozen lines, which are said here in one.
    logging.disable()
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder:
        config = LaunchConfig(
            min_nodes=nodes,
            max_nodes=nodes,
            nproc_per_node=devices,
            logs_specs=DefaultLogsSpecs(folder),
            run_id="train",
            rdzv_backend="c10d",
            rdzv_endpoint=meeting,
            rdzv_configs={"is_host": meeting.endswith(":0")},
            local_addr=here,  # the machine's own name may lead nowhere
            max_restarts=0,
            shutdown_timeout=GRACE,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "stages.train")
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            if failed := [code for code in codes.values() if code > 0]:
                sys.exit(min(failed))  # 1, where one of them has a reason of its own
            # Those that the launcher itself ended got SIGTERM.
            rank = min(codes, key=lambda rank: codes[rank] == -signal.SIGTERM)
            raise UserError(
                f"the process of device {rank} was ended by {signal.Signals(-codes[rank]).name}, "
                "which may be for want of memory; started again, training goes on after the last "
                "whole epoch"
            ) from error
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from error
            sys.exit(128 + error.sigval)


@contextmanager
def group(wish: Devices, batch_size: int) -> Iterator[Group]:
    """Yields the group of this run: that of the launcher, or this process alone.

    Where several processes fail, the first says why. Of a failure because others are gone, the
    launcher, or who ended them, says more.

    Args:
        wish: ``train.devices``, which the launcher has to agree with.

    Raises:
        UserError: the launcher's options do not go with the parameters or the machine.
    """
    gpus = torch.cuda.device_count()
    if not is_joined() or os.environ["WORLD_SIZE"] == "1":
        yield Group(torch.device("cuda" if gpus else "cpu"))
        return
    store, rank, size = next(dist.rendezvous("env://"))
    place = int(os.environ.get("LOCAL_RANK", "0"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    end_with_parent()
    try:
        with ExitStack() as muted:
            if rank:
                nothing = muted.enter_context(open(os.devnull, "w"))
                muted.enter_context(redirect_stdout(nothing))
                muted.enter_context(redirect_stderr(nothing))
            check(wish, batch_size, size, here, gpus)
            device = torch.device("cuda", place) if gpus else torch.device("cpu")
            if gpus:
                torch.cuda.set_device(device)
            if "OMP_NUM_THREADS" not in os.environ:
                torch.set_num_threads(max(1, torch.get_num_threads() // here))
            # What lies on the CPU goes by gloo also where there are GPUs.
            backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
            dist.init_process_group(
                backend, store=dist.PrefixStore("group", store), rank=rank, world_size=size
            )
            members = Group(device, rank, size, dist.PrefixStore("block", store), place)
            yield members
            with members.first("end"):  # the last that the others wait for is what rank 0 writes
                pass
    except KeyboardInterrupt:
        sys.exit(1)  # the launcher was interrupted, and says so
    except Exception as error:
        lost = isinstance(error, RuntimeError) and any(w in str(error).lower() for w in GONE)
        if lost:
            time.sleep(2 * GRACE)  # the launcher, which knows who is gone, ends this process too
        with suppress(RuntimeError):  # the store may be gone as well
            if store.add("failed", 1) > 1:
                sys.exit(os.EX_TEMPFAIL if lost else 1)
        if lost:
            print(
                f"train: the connection to the other processes broke "
                f"({str(error).splitlines()[0]}); started again, training goes on after the last "
                "whole epoch",
                file=sys.stderr,
            )
            sys.exit(os.EX_TEMPFAIL)
        raise
    # Not after an error: it might wait for others that wait themselves.
    dist.destroy_process_group()


def check(wish: Devices, batch_size: int, size: int, here: int, gpus: int) -> None:
    """Checks that so many processes can be.

    Args:
        wish: ``train.devices``.
        size: how many processes there are, on all machines.
        here: how many on this machine.
        gpus: of this machine.

    Raises:
        UserError: they do not go with the parameters or the machine.
    """
    if wish not in ("auto", "cluster", here):
        raise UserError(
            f"train.devices is {wish}, but the launcher started {here} processes on this machine; "
            "set it to auto"
        )
    if here > gpus > 0:
        raise UserError(f"{here} processes were started, but there are {gpus} GPUs; start fewer")
    if size > batch_size:
        raise UserError(
            f"train.batch_size = {batch_size} cannot be shared by {size} devices; raise it, or "
            "lower train.devices"
        )


def end_with_parent() -> None:
    """Sees to it that this process ends when the one that has started it is gone.

    A process of a launcher has a session of its own, so no signal to the launcher's process group
    reaches it; one on a node of a cluster is in nobody's group.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
