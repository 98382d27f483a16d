"""Which photos belong together: the same ones, and those of one group."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import sparse

SAME = ("sha256", "dhash")
TOGETHER = (*SAME, "group")


def same_photo(photos: pl.DataFrame) -> np.ndarray:
    """Numbers the photos that are linked by an equal ``sha256`` or an equal ``dhash``.

    Those are the same photo: identical, or so alike that their difference hashes are equal.

    Returns:
        int, (photos,), from 0; most photos have a number of their own.
    """
    return linked(list(numbered(photos, SAME).values()))


def numbered(photos: pl.DataFrame, columns: Sequence[str] = TOGETHER) -> dict[str, np.ndarray]:
    """The values of each column as numbers, in their order: int, (photos,); -1 for a null.

    A column without any value is left out.
    """
    return {
        name: photos[name].rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
        for name in columns
        if photos[name].is_not_null().any()
    }


def linked(keys: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers the rows that an equal number in one of ``keys`` links, directly or by other rows.

    Args:
        keys: int, (rows,) each; every row has a number in the first. -1 links nothing.

    Returns:
        int, (rows,), not negative, in the order of the first key's numbers.
    """
    # The keys' numbers are the nodes of a graph. A row is an edge from its number in the first
    # key to that in each other.
    first, nodes, ends = keys[0], keys[0].max() + 1, []
    for key in keys[1:]:
        there = key >= 0
        ends.append((first[there], nodes + key[there]))
        nodes += key.max() + 1
    starts, stops = np.concatenate(ends, axis=1) if ends else np.empty((2, 0), np.int64)
    edges = sparse.coo_array((np.ones(len(starts), bool), (starts, stops)), shape=(nodes, nodes))
    _, component = sparse.csgraph.connected_components(edges, directed=False)
    return component[first]


def photos_in(photos: pl.DataFrame, others: pl.DataFrame) -> int:
    """How many of ``photos`` have the ``sha256`` or the ``dhash`` of one of ``others``."""
    shared = [pl.col(name).is_in(others[name].implode()) for name in SAME]
    return photos.filter(pl.any_horizontal(shared)).height
