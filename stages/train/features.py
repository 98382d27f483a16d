"""Features of a frozen backbone, computed once and kept.

Where nothing of the photo's side learns, each epoch would compute the same features again, and so
would each run with another head, loss, rate or number of epochs. They lie in the cache folder,
under a key of all that decides what they are. With ``train.views``, augmentation comes with them:
the features of several views of each photo are kept, and an epoch learns from one of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

import stages.network
from stages import cluster, resumable
from stages.files import cache_folder, digest
from stages.ingest import images
from stages.ingest.images import ImageStore
from stages.ingest.records import RECORDS
from stages.network.allocation import keep_freed_memory
from stages.network.batches import Batch, Rows
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import fingerprint, prepared
from stages.network.precision import autocast
from stages.train.augment import augment
from stages.train.distributed import Group
from stages.train.params import Train

# From photos as they are stored, and the place of their first among all, to what the backbone sees
# of them: the same wherever, and in whatever order, batches are computed.
View = Callable[[Batch, int], Batch]
# A backbone and the folder of the store; photos at once, the precision and what is seen of them.
Common = tuple[nn.Module, Path, int, str, View]
Piece = tuple[int, np.ndarray]  # the place of the first photo among all, and rows of the store
BATCHES = 2  # that a core of a cluster takes at once


def are_constant(params: Train) -> bool:
    """Whether the features that training and validation need are the same in every epoch."""
    fixed = params.freeze and not params.unfreeze
    augment = params.augment
    kept = params.views is not None or not (augment.changes_photos or augment.mixes)
    return params.inputs != "caption" and fixed and kept


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
        f"{description.backbone} {description.pooling} {description.crop}",
        f"{description.mean} {description.std}",
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
    folder = cache_folder("features")
    with group.first("features"):
        kept = [
            resumable.array(
                folder / digest(key, name)[:32], len(photos), partial(compute, view), "features"
            )
            for name, view in views.items()
        ]
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

    def as_they_are(batch: Batch, place: int) -> Batch:
        return prepared(batch, description)

    def augmented(batch: Batch, place: int, number: int) -> Batch:
        # Of a seed, torch's generator on the CPU takes 32 bits.
        (seed,) = np.random.SeedSequence((number, place)).generate_state(1)
        generator = torch.Generator().manual_seed(int(seed))
        return batch.map_images(
            partial(augment, params=params.augment, generator=generator, mean=mean, std=std)
        )

    views: dict[str, View] = {"photos": as_they_are}
    for number in range(1, params.views or 1):
        name = f"view {number} {params.augment.model_dump_json()}"
        views[name] = partial(augmented, number=number)
    if params.test_time_flip:
        views["mirror images"] = lambda batch, place: as_they_are(batch, place).mirrored()
    return views


def _compute(
    backbone: nn.Module, rows: Rows, batch_size: int, precision: str, view: View, first: int
) -> Iterator[np.ndarray]:
    """The backbone's features of a view of each photo from that row on, as of ``_of_batches``."""
    backbone.eval()
    assert rows.store is not None
    is_on_cpu = next(backbone.parameters()).device.type == "cpu"
    common = backbone, rows.store.folder, batch_size, precision, view
    if is_on_cpu and cluster.is_asked_for():
        starts = range(first, len(rows), batch_size * BATCHES)
        pieces = ((start, rows.images[start : start + starts.step]) for start in starts)
        return cluster.spread(_of_piece, common, pieces)
    return _of_batches(common, (first, rows.images[first:]))


def _of_piece(common: Common, piece: Piece) -> np.ndarray:
    """What a core of a cluster does."""
    keep_freed_memory()
    return np.concatenate(list(_of_batches(common, piece)))


@torch.inference_mode()
def _of_batches(common: Common, piece: Piece) -> Iterator[np.ndarray]:
    """Features of each batch of photos, (n, features) or (n, places, features).

    They are float32, those of places, which take so many times the room, float16.
    """
    backbone, folder, batch_size, precision, view = common
    start, images = piece
    device = next(backbone.parameters()).device
    context = autocast(device, precision)
    rows = Rows(ImageStore(folder), images, None, None)
    for number, batch in enumerate(rows.batches(batch_size, device)):
        photos = view(batch, start + number * batch_size).images
        with context():
            features = backbone(photos)
        kept = torch.float16 if features.dim() == 3 else torch.float32
        yield features.to(kept).cpu().numpy()
