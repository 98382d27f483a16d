"""train: records, photos, folds and vocabulary → a network, and its validation probabilities."""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages import UserError, metrics, run
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network import network as networks
from stages.network import probabilities
from stages.network.allocation import keep_freed_memory
from stages.network.description import Description
from stages.network.precision import precision_for
from stages.params import read
from stages.split import folds
from stages.train import distributed, features
from stages.train.checkpoint import Checkpoint
from stages.train.distributed import Group
from stages.train.loop import Figures, Result, fit, predict
from stages.train.params import Train
from stages.vocab import vocabulary

CURVES = Path("metrics/train")


def main() -> None:
    params = read(Train)
    if not distributed.is_joined() and (devices := distributed.count(params.devices)) > 1:
        distributed.launch(devices)
        return
    keep_freed_memory()
    with distributed.group(params.devices, params.batch_size) as group:
        train(params, group)


def train(params: Train, group: Group) -> None:
    """The stage as each process of ``group`` runs it; only the first writes."""
    everything, parts = records.read(), folds.read()
    label_names, store = records.read_label_names(), ImageStore()
    training, validation = (folds.rows_of(everything, parts, p) for p in ("train", "validation"))
    check(params, training["caption"], store.size)

    device = group.device
    precision = precision_for(device, params.precision)
    torch.backends.cudnn.benchmark = True  # photos are all of one size
    torch.manual_seed(params.seed)
    description = describe(params, label_names, store.size)
    with group.first("build"):  # weights may have to be downloaded
        network, words = networks.build(description, params.weights, params.freeze)
    megabytes = networks.size_mb(network)
    check_size(megabytes, params.max_mb)
    network.to(device, memory_format=torch.channels_last)
    group.synchronise(network)

    train_rows, validation_rows = (
        networks.rows_for(
            description, part, store, words, records.label_matrix(part["labels"], label_names)
        )
        for part in (training, validation)
    )
    feature_seconds = 0.0
    checkpoint = Checkpoint(params, network, store.size, precision)
    group.check_same(checkpoint.path.name)
    drawn = curves() if group.is_first else nullcontext(lambda epoch: None)
    with networks.memory_for("train.batch_size", params.batch_size), drawn as report:
        if features.are_constant(params):
            with group.first("features"):
                kept, feature_seconds = features.of_store(
                    network, description, store, params.batch_size, precision
                )
            train_rows, validation_rows = (
                replace(rows, features=kept) for rows in (train_rows, validation_rows)
            )
        result = fit(
            network, description, train_rows, validation_rows, params, checkpoint, report, group
        )
    found = predict(network, description, validation_rows, params.batch_size, precision, group)
    peak = max(group.all(peak_memory_mb(device)))
    if not group.is_first:
        return
    networks.save(network, description, words)
    table = probabilities.table(validation["id"], validation["labels"], found)
    probabilities.write(table, label_names)
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    several = f"{group.size} × " if group.size > 1 else ""
    counted = {
        "hardware": f"{several}{hardware}, {precision}",
        "devices": group.size,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "mb": megabytes,
        "peak_memory_mb": round(peak, 1),  # of the device that took most
    }
    if description.reads_captions and description.text["embeddings"] is not None:
        counted["embeddings_coverage"] = network.captions.coverage
    metrics.write("train", counted | figures(result, megabytes, feature_seconds))
    checkpoint.remove()


def describe(params: Train, label_names: list[str], stored_size: int) -> Description:
    """The network that ``params`` ask for."""
    return Description(
        labels=label_names,
        inputs=params.inputs,
        backbone=params.backbone,
        stored_size=stored_size,
        crop=params.augment.crop,
        feature_norm=params.feature_norm,
        fusion=params.fusion,
        dropout=params.dropout,
        flip=params.test_time_flip,
        precision=params.precision,
        text=params.text.model_dump(),
        vocabulary=vocabulary.to_json(vocabulary.read()),
    )


def check(params: Train, captions: Any, stored_size: int) -> None:
    """Ends the stage early when what is asked for cannot be."""
    if len(captions) == 0:
        raise UserError("there is no training row; see metrics/split.json")
    if "caption" in params.inputs and captions.null_count() == len(captions):
        raise UserError(
            f"train.inputs is {params.inputs}, but no training photo has a caption; "
            "set train.inputs to image"
        )
    if params.augment.crop is not None and params.augment.crop > stored_size:
        raise UserError(
            f"train.augment.crop is {params.augment.crop}, but photos are stored with "
            f"ingest.image_size = {stored_size} pixels"
        )


def check_size(megabytes: float, budget: float) -> None:
    if megabytes > budget:
        raise UserError(
            f"the network takes {megabytes:.1f} MB, more than train.max_mb = {budget:g}; "
            "choose a smaller train.backbone or raise the budget"
        )


def figures(result: Result, megabytes: float, feature_seconds: float) -> dict[str, Any]:
    """What ``metrics/train.json`` says of the run; F1 is that of the best epoch, at 0.5.

    ``feature_seconds`` are those that a frozen backbone's features took, in this run or in the one
    that kept them. Without an epoch there is neither loss nor speed, and they are null.
    """
    seconds = result.seconds + feature_seconds
    micro_f1, hours = result.best["validation/micro_f1"], seconds / 3600
    speeds = [epoch["train/photos_per_second"] for epoch in result.history]
    return {
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "seconds": round(seconds, 1),
        "photos_per_second": round(float(np.median(speeds)), 1) if speeds else None,
        "loss": result.best.get("train/loss"),
        "validation": {
            name.removeprefix("validation/"): figure
            for name, figure in result.best.items()
            if name.startswith("validation/")
        },
        "f1_per_hour": micro_f1 / hours if hours else None,
        "f1_per_mb": micro_f1 / megabytes,
    }


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far, in MB of 2²⁰ bytes.

    On a GPU, what torch's tensors took of it; else what the process had resident, Python and its
    libraries included.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / networks.MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (networks.MB if sys.platform == "darwin" else 1024)  # macOS: bytes, Linux: KiB


@contextmanager
def curves() -> Iterator[Callable[[Figures], None]]:
    """Yields what takes an epoch's figures and draws them as DVCLive's curves."""
    if find_spec("dvclive") is None:
        print("train: DVCLive is not installed, so no curves are written to metrics/train")
        yield lambda epoch: None
        return
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        # DVCLive would edit dvc.yaml and make experiments by itself; both are DVC's business here.
        live = Live(str(CURVES), dvcyaml=None, save_dvc_exp=False, report=None)
    except SCMError as error:
        raise UserError(
            f"DVCLive, which draws the curves, cannot tell the commit: {error}; "
            "make a first one with git commit"
        ) from error
    with live:

        def report(epoch: Figures) -> None:
            for name, figure in epoch.items():
                live.log_metric(name, figure)
            live.next_step()

        yield report
    # DVCLive's summary says again what metrics/train.json says.
    Path(live.metrics_file).unlink()


if __name__ == "__main__":
    run(main)
