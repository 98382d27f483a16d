"""Which photos are the same one: identical, or so alike that their difference hashes are equal."""

import numpy as np
import polars as pl
from scipy import sparse


def same_photo(photos: pl.DataFrame) -> np.ndarray:
    """Numbers the groups of photos that are linked by an equal ``sha256`` or an equal ``dhash``.

    int, (photos,), from 0; most photos are a group of their own.
    """
    # Hashes are the nodes of a graph, and each photo is an edge from its one to its other. A photo
    # too plain for a dhash looks like no other.
    looks = photos.select(pl.coalesce(pl.col("dhash").cast(pl.String), "sha256")).to_series()
    file, look = (
        hashes.rank("dense").cast(pl.Int64).to_numpy() - 1 for hashes in (photos["sha256"], looks)
    )
    nodes = file.max() + look.max() + 2
    edges = sparse.coo_array(
        (np.ones(len(photos), bool), (file, file.max() + 1 + look)), shape=(nodes, nodes)
    )
    _, group = sparse.csgraph.connected_components(edges, directed=False)
    return group[file]


def photos_in(photos: pl.DataFrame, others: pl.DataFrame) -> int:
    """How many of ``photos`` have the ``sha256`` or the ``dhash`` of one of ``others``."""
    shared = [pl.col(name).is_in(others[name].implode()) for name in ("sha256", "dhash")]
    return photos.filter(pl.any_horizontal(shared)).height
