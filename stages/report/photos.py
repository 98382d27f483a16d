"""Photos as people see what the network was fed with."""

import numpy as np

from stages.ingest.images import ImageStore
from stages.network.description import Description


def as_seen(store: ImageStore, images: np.ndarray, description: Description) -> np.ndarray:
    """The photos at ``images`` of the store: uint8 (n, size, size, 3), only what is looked at."""
    photos = store.gather(images)
    if not description.sees_images:
        return photos
    margin = (store.size - description.input_size) // 2
    cut = slice(margin, margin + description.input_size)
    return photos[:, cut, cut]
