"""What ``metrics/train.json`` says of a run: what it cost, and what came of it."""

import resource
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch

from stages import metrics
from stages.network.batches import Rows
from stages.network.description import Description
from stages.network.nets.caption import CaptionEncoder
from stages.network.nets.classifier import Classifier
from stages.network.network import MB, size_mb
from stages.network.tokens import Words
from stages.train.distributed import Group
from stages.train.loop import Result, predict
from stages.vocab.vocabulary import LEAST_KNOWN, Vocabulary


def cost(
    network: Classifier, description: Description, precision: str, group: Group
) -> dict[str, Any]:
    """Hardware, size and memory; every process of ``group`` has to call it."""
    hardware = torch.cuda.get_device_name() if group.device.type == "cuda" else "CPU"
    several = f"{group.size} × " if group.size > 1 else ""
    figures = {
        "hardware": f"{several}{hardware}, {precision}",
        "devices": group.size,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "mb": size_mb(network),
        # Of the device that took most.
        "peak_memory_mb": round(max(group.all(peak_memory_mb(group.device))), 1),
    }
    captions = network.captions
    if isinstance(captions, CaptionEncoder) and description.text["embeddings"] is not None:
        figures["embeddings_coverage"] = captions.coverage
    return figures


def outcome(result: Result, megabytes: float, feature_seconds: float) -> dict[str, Any]:
    """Speed, loss and scores; F1 is that of the best epoch, at 0.5.

    Without an epoch there is neither loss nor speed, and they are null.

    Args:
        megabytes: size of the network.
        feature_seconds: spent on a frozen backbone's features, in this run or the one that kept
            them.
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


def little_known(words: Words | None, captions: pl.Series) -> dict[str, float]:
    """``words_known``, the share of the words of validation captions that the vocabulary knows,
    where that is little, which is also said; else nothing.
    """
    share = words.share_known(captions) if isinstance(words, Vocabulary) else None
    if share is None or share >= LEAST_KNOWN:
        return {}
    print(
        f"train: warning: of the words of validation captions the vocabulary knows {share:.1%}, so "
        "that captions say little; see vocab.min_count, and vocab.segmentation for languages "
        "without blanks between words"
    )
    return {"words_known": share}


def left_out(
    network: Classifier,
    description: Description,
    rows: Rows,
    batch_size: int,
    precision: str,
    group: Group,
) -> dict[str, Any]:
    """What a network of both inputs scores on validation rows with one of them left out, at 0.5.

    So the figures of the photo alone, the caption alone and both are of one training. Every process
    of ``group`` has to call it.

    Returns:
        ``without_captions`` and ``without_photos``, with micro-F1 and mean average precision each;
        nothing where the network has one input anyway.
    """
    if description.inputs != "image+caption":
        return {}
    assert rows.words is not None and rows.targets is not None
    parts = {
        "without_captions": replace(rows, words=torch.zeros_like(rows.words)),
        "without_photos": replace(rows, store=None, features=None),
    }
    truth = rows.targets.numpy() > 0.5
    known = None if rows.known is None else rows.known.numpy()
    figures = {}
    for name, part in parts.items():
        probabilities = predict(network, description, part, batch_size, precision, group)
        figures[name] = {
            "micro_f1": metrics.micro_f1(truth, probabilities >= 0.5, known),
            "mean_average_precision": metrics.mean_average_precision(truth, probabilities, known),
        }
    return figures


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far, in MB of 2²⁰ bytes.

    On a GPU, what torch's tensors took of it; else what the process had resident, Python and its
    libraries included.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MB if sys.platform == "darwin" else 1024)  # macOS: bytes, Linux: KiB
