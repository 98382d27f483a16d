"""Photos as the network is fed with them, and as people see what it was fed with."""

import numpy as np

from stages.ingest.images import ImageStore
from stages.train.augment import prepare
from stages.train.batches import Batch
from stages.train.network import Description


def prepared(batch: Batch, description: Description) -> Batch:
    """``batch`` with its photos cut and normalised."""
    return batch.map_images(
        lambda images: prepare(images, description.crop, description.mean, description.std)
    )


def as_seen(store: ImageStore, images: np.ndarray, description: Description) -> np.ndarray:
    """The photos at ``images`` of the store: uint8 (n, size, size, 3), only what is looked at."""
    photos = store.gather(images)
    if not description.sees_images:
        return photos
    margin = (store.size - description.image_size) // 2
    cut = slice(margin, margin + description.image_size)
    return photos[:, cut, cut]
