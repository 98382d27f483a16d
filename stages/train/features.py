"""Features of a frozen backbone, computed once and kept.

Where nothing of the photo's side learns, each epoch would compute the same features again, and so
would each run with another head, loss, rate or number of epochs. They lie in the cache folder,
under a key of all that decides what they are. With ``train.views``, augmentation comes with them:
the features of several views of each photo are kept, and an epoch learns from one of them.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

import stages.network
from stages.files import alone, cache_folder, digest, whole, write_json
from stages.ingest import images
from stages.ingest.records import RECORDS
from stages.network.batches import Batch, Rows
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import fingerprint, prepared
from stages.network.precision import autocast
from stages.progress import Progress
from stages.train.augment import augment
from stages.train.distributed import Group
from stages.train.params import Train

# From photos as they are stored to what the backbone sees of them.
View = Callable[[Batch], Batch]


def are_constant(params: Train) -> bool:
    """Whether the features that training and validation need are the same in every epoch."""
    fixed = params.freeze and not params.unfreeze
    augment = params.augment
    kept = params.views is not None or not (augment.changes_photos or augment.mixes)
    return "image" in params.inputs and fixed and kept


def in_place_of_photos(
    training: Rows,
    validation: Rows,
    network: Classifier,
    description: Description,
    params: Train,
    precision: str,
    group: Group,
) -> tuple[Rows, Rows, float]:
    """The rows, of one store, with features in place of photos; and the seconds of these.

    They are computed, on the backbone's device, where they are not kept yet. The seconds are those
    of that time, so that a run costs the same whether features were kept or not.

    Training gets the features of all views; validation those of the photos as they are, and of
    their mirror images where the answer is the mean of both.
    """
    store, backbone = training.store, network.backbone
    assert store is not None and backbone is not None
    # Of both parts alike: a photo that validates in one fold of several trains in the others.
    photos = np.unique(np.concatenate([training.images, validation.images]))
    key = digest(
        fingerprint(backbone),
        f"{description.backbone} {description.crop} {description.mean} {description.std}",
        f"{store.form} {store.codec} {precision} {params.batch_size}",
        f"{torch.__version__} {version('torchvision')} {version('timm')}",
        sha256(photos.tobytes()).hexdigest(),
        Path(__file__).parent,
        Path(stages.network.__file__).parent,
        Path(images.__file__),
        RECORDS,
    )
    compute = partial(
        _compute, backbone, Rows(store, photos, None, None), params.batch_size, precision
    )
    views = _views(params, description)
    with group.first("features"):
        kept = [_kept(digest(key, name), partial(compute, view)) for name, view in views.items()]
    features = [each for each, _ in kept]
    mirror = features.pop() if params.test_time_flip else None
    training, validation = (
        replace(rows, images=np.searchsorted(photos, rows.images))
        for rows in (training, validation)
    )
    return (
        replace(training, features=features),
        replace(validation, features=features[:1], mirror_features=mirror),
        sum(seconds for _, seconds in kept),
    )


def _views(params: Train, description: Description) -> dict[str, View]:
    """The photos as they are, the views that augmentation makes of them, and the mirror images.

    By names that say all that decides what they show. ``train.seed`` does not: it draws among the
    views, so that runs with other seeds find them.
    """

    mean, std = description.mean, description.std

    def augmented(batch: Batch, generator: torch.Generator) -> Batch:
        return batch.map_images(
            partial(augment, params=params.augment, generator=generator, mean=mean, std=std)
        )

    as_they_are = partial(prepared, description=description)
    views: dict[str, View] = {"photos": as_they_are}
    for number in range(1, params.views or 1):
        generator = torch.Generator().manual_seed(number)
        name = f"view {number} {params.augment.model_dump_json()}"
        views[name] = partial(augmented, generator=generator)
    if params.test_time_flip:
        views["mirror images"] = lambda batch: as_they_are(batch).mirrored()
    return views


def _kept(key: str, compute: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """What ``compute`` gives, read-only, and the seconds that it took when it was called."""
    folder = cache_folder("features") / key[:32]
    with alone(folder):  # of experiments that want the same, one computes it
        if not folder.exists():
            started = time.perf_counter()
            features = compute()
            with whole(folder) as temporary:
                temporary.mkdir()
                np.save(temporary / "features.npy", features)
                write_json(temporary / "seconds.json", time.perf_counter() - started)
    seconds = json.loads((folder / "seconds.json").read_text("utf-8"))
    return np.load(folder / "features.npy", mmap_mode="r"), seconds


@torch.inference_mode()
def _compute(
    backbone: nn.Module, rows: Rows, batch_size: int, precision: str, view: View
) -> np.ndarray:
    """The backbone's features of a view of each row's photo: float32 (rows, features)."""
    backbone.eval()
    device = next(backbone.parameters()).device
    context = autocast(device, precision)
    parts = []
    with Progress("features", len(rows), "photos") as progress:
        for batch in rows.batches(batch_size, device):
            photos = view(batch).images
            with context():
                parts.append(backbone(photos).float().cpu().numpy())
            progress.advance(len(parts[-1]))
    return np.concatenate(parts)
