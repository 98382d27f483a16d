"""The order in which an epoch shows the training rows."""

from itertools import pairwise

import numpy as np

BLOCK = 64  # rows of a stretch that are shown before others of it


def epoch_order(rows: int, batch_size: int, shuffle: int, seed: int) -> np.ndarray:
    """All rows once, in an order drawn by ``seed``: int (rows,).

    Up to ``shuffle`` rows, any order is as likely as another. Of more, each place in a batch has a
    stretch of rows to itself, and shows it block by block, each block in an order of its own: a
    batch has rows from all over, yet a device that computes a part of each batch reads a part of
    the store, whole blocks at a time. Only of the last batch it may read others. The order does
    not hang on how many devices there are.
    """
    generator = np.random.default_rng(seed)
    if rows <= shuffle:
        return generator.permutation(rows)
    bounds = rows * np.arange(batch_size + 1) // batch_size
    order = np.full((-(-rows // batch_size), batch_size), -1, np.int32)
    for place, (start, stop) in enumerate(pairwise(bounds)):
        blocks = generator.permutation(-(-(stop - start) // BLOCK))
        within = np.tile(np.arange(BLOCK), (len(blocks), 1))
        drawn = (start + blocks[:, None] * BLOCK + generator.permuted(within, axis=1)).ravel()
        order[: stop - start, place] = drawn[drawn < stop]
    return order[order >= 0]
