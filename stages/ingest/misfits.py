"""What a person should know of photos that do not go well with the range they were scaled from."""

from collections.abc import Sequence

import polars as pl

from stages.ingest.deep_pixels import SMALL_PART, Misfit
from stages.ingest.form import Depth


def figures(taken: pl.LazyFrame) -> dict[str, int]:
    """How many photos do not go well with the range that they were scaled from.

    Args:
        taken: has a row a photo, and the column ``misfit``.
    """
    misfit = pl.col("misfit")
    counts = taken.select(
        photos_of_narrow_range=(misfit == Misfit.NARROW).sum(),
        photos_beyond_range=(misfit == Misfit.BEYOND).sum(),
    )
    (row,) = counts.collect(engine="streaming").to_dicts()
    return row


def warnings(figures: dict[str, int], depth: Depth) -> Sequence[str]:
    """What a person should know of ``figures``, and do about it, a sentence each."""
    scale = "the range of their type" if depth == "type" else f"ingest.depth = {list(depth)}"
    remedy = "set ingest.depth to photo, or to the lowest and highest value that count"
    said = []
    if narrow := figures["photos_of_narrow_range"]:
        said.append(
            f"{narrow:,} photos use {SMALL_PART:.0%} of {scale} or less, so that little of them is "
            f"seen: {remedy}"
        )
    if beyond := figures["photos_beyond_range"]:
        said.append(f"{beyond:,} photos go beyond {scale}, where all is black or white: {remedy}")
    return said
