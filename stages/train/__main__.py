"""train: records, photos, folds and vocabulary → a network, and its validation probabilities."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages import UserError, metrics, run
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.params import Train, read
from stages.split import folds
from stages.train import network as networks
from stages.train import probabilities
from stages.train.checkpoint import Checkpoint
from stages.train.loop import Figures, Result, fit, predict
from stages.train.network import Description
from stages.train.precision import precision_for
from stages.vocab import vocabulary

CURVES = Path("metrics/train")


def main() -> None:
    params = read(Train)
    everything, parts, words = records.read(), folds.read(), vocabulary.read()
    label_names, store = records.read_label_names(), ImageStore()
    train, validation = (folds.rows_of(everything, parts, p) for p in ("train", "validation"))
    check(params, train["caption"], store.size)

    description = Description(
        labels=label_names,
        inputs=params.inputs,
        backbone=params.backbone,
        stored_size=store.size,
        crop=params.augment.crop,
        dropout=params.dropout,
        precision=params.precision,
        text=params.text.model_dump(),
        vocabulary=vocabulary.to_json(words),
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True  # photos are all of one size
    torch.manual_seed(params.seed)
    network = networks.build(description, params.weights, params.freeze)
    megabytes = networks.size_mb(network)
    if megabytes > params.max_mb:
        raise UserError(
            f"the network takes {megabytes:.1f} MB, more than train.max_mb = {params.max_mb:g}; "
            "choose a smaller train.backbone or raise the budget"
        )
    network.to(device, memory_format=torch.channels_last)

    train_rows, validation_rows = (
        networks.rows_for(
            description, part, store, words, records.label_matrix(part["labels"], label_names)
        )
        for part in (train, validation)
    )
    precision = precision_for(device, params.precision)
    checkpoint = Checkpoint(params, store.size, precision)
    with networks.memory_for("train.batch_size", params.batch_size), curves() as report:
        result = fit(network, description, train_rows, validation_rows, params, checkpoint, report)
    found = predict(network, description, validation_rows, params.batch_size, precision)
    networks.save(network, description)
    table = probabilities.table(validation["id"], validation["labels"], found)
    probabilities.write(table, label_names)
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    counted = {
        "hardware": f"{hardware}, {precision}",
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "mb": megabytes,
    }
    metrics.write("train", counted | figures(result, megabytes))
    checkpoint.remove()


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


def figures(result: Result, megabytes: float) -> dict[str, Any]:
    """What ``metrics/train.json`` says of the run; F1 is that of the best epoch, at 0.5."""
    best = result.history[result.best_epoch - 1]
    hours = result.seconds / 3600
    return {
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "seconds": round(result.seconds, 1),
        "photos_per_second": round(
            float(np.median([epoch["train/photos_per_second"] for epoch in result.history])), 1
        ),
        "loss": best["train/loss"],
        "validation": {
            name.removeprefix("validation/"): figure
            for name, figure in best.items()
            if name.startswith("validation/")
        },
        "f1_per_hour": best["validation/micro_f1"] / hours,
        "f1_per_mb": best["validation/micro_f1"] / megabytes,
    }


@contextmanager
def curves() -> Iterator[Callable[[Figures], None]]:
    """Yields what takes an epoch's figures and draws them as DVCLive's curves."""
    if find_spec("dvclive") is None:
        print("train: DVCLive is not installed, so no curves are written to metrics/train")
        yield lambda epoch: None
        return
    from dvclive import Live

    # DVCLive would edit dvc.yaml and make experiments by itself; both are DVC's business here.
    with Live(str(CURVES), dvcyaml=None, save_dvc_exp=False, report=None) as live:

        def report(epoch: Figures) -> None:
            for name, figure in epoch.items():
                live.log_metric(name, figure)
            live.next_step()

        yield report
    # DVCLive's summary says again what metrics/train.json says.
    Path(live.metrics_file).unlink()


if __name__ == "__main__":
    run(main)
