"""Features of a frozen backbone, computed once and kept.

Where nothing of the photo's side learns and photos are not augmented, each epoch would compute the
same features again, and so would each run with another head, loss, rate or number of epochs. They
lie in the cache folder, under a key of all that decides what they are.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

import stages.network
from stages.files import alone, cache_folder, digest, whole, write_json
from stages.ingest import images
from stages.ingest.images import ImageStore
from stages.ingest.records import RECORDS
from stages.network.batches import Rows
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import fingerprint, prepared
from stages.network.precision import autocast
from stages.progress import Progress
from stages.train.distributed import Group
from stages.train.params import Train


def are_constant(params: Train) -> bool:
    """Whether a photo's features are the same in every epoch, training and validation alike."""
    # These two only say how others do what they do.
    moved = any(value for name, value in params.augment if name not in ("aspect", "magnitude"))
    fixed = params.freeze and not params.unfreeze and not params.test_time_flip
    return "image" in params.inputs and fixed and not moved


def in_place_of_photos(
    parts: Sequence[Rows],
    network: Classifier,
    description: Description,
    params: Train,
    precision: str,
    group: Group,
) -> tuple[list[Rows], float]:
    """``parts``, of one store, with features in place of photos, and ``of_store``'s seconds."""
    store = parts[0].store
    assert network.backbone is not None and store is not None
    with group.first("features"):
        kept, seconds = of_store(network.backbone, description, store, params.batch_size, precision)
    return [replace(rows, features=kept) for rows in parts], seconds


def of_store(
    backbone: nn.Module,
    description: Description,
    store: ImageStore,
    batch_size: int,
    precision: str,
) -> tuple[np.ndarray, float]:
    """The backbone's features of every photo in the store, and the seconds they took to compute.

    They are computed, on the backbone's device, where they are not kept yet. The seconds are those
    of that time, so that a run costs the same whether features were kept or not.

    Returns:
        float32 (photos, features), read-only; and the seconds.
    """
    key = digest(
        fingerprint(backbone),
        f"{description.backbone} {description.crop} {description.mean} {description.std}",
        f"{store.form} {precision} {batch_size} {torch.__version__} {version('torchvision')}",
        version("timm"),
        Path(__file__).parent,
        Path(stages.network.__file__).parent,
        Path(images.__file__),
        RECORDS,
    )
    folder = cache_folder("features") / key[:32]
    with alone(folder):  # of experiments that want the same, one computes it
        if not folder.exists():
            started = time.perf_counter()
            features = _compute(backbone, description, store, batch_size, precision)
            with whole(folder) as temporary:
                temporary.mkdir()
                np.save(temporary / "features.npy", features)
                write_json(temporary / "seconds.json", time.perf_counter() - started)
    seconds = json.loads((folder / "seconds.json").read_text("utf-8"))
    return np.load(folder / "features.npy", mmap_mode="r"), seconds


@torch.inference_mode()
def _compute(
    backbone: nn.Module,
    description: Description,
    store: ImageStore,
    batch_size: int,
    precision: str,
) -> np.ndarray:
    backbone.eval()
    device = next(backbone.parameters()).device
    context = autocast(device, precision)
    rows = Rows(store, np.arange(len(store)), None, None)
    parts = []
    with Progress("features", len(rows), "photos") as progress:
        for batch in rows.batches(batch_size, device):
            with context():
                parts.append(backbone(prepared(batch, description).images).float().cpu().numpy())
            progress.advance(len(parts[-1]))
    return np.concatenate(parts)
