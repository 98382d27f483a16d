"""Photos with something wrong: the same one twice, too dark, too bright, blurred, narrow."""

import numpy as np
import polars as pl
from PIL import Image, ImageFilter, ImageStat

from stages.ingest.form import shares
from stages.ingest.images import ImageStore
from stages.split.duplicates import same_photo

DUPLICATES = pl.Schema(
    {
        "group": pl.Int64(),  # photos of one group are the same one
        "id": pl.String(),
        "image": pl.Int32(),  # the photo's row in the image store
        "part": pl.String(),  # train, validation or test; null: it takes part in nothing
        "labels": pl.List(pl.String),
        "caption": pl.String(),
        "why": pl.String(),
    }
)
ODD = pl.Schema(
    {
        "id": pl.String(),
        "image": pl.Int32(),
        "caption": pl.String(),
        "measure": pl.String(),  # dark, bright, sharpness or shape
        "value": pl.Float64(),
        "why": pl.String(),
    }
)

# Bounds on brightness and shape are those of the library CleanVision.
DARK = 0.32  # of 1; all but a hundredth of the pixels are darker
BRIGHT = 0.95  # of 1; all but a twentieth of the pixels are brighter
NARROW = 0.35  # the short side by the long one
# Interquartile ranges below the first quartile of sharpness, in logarithms. Of Tukey's two, 1.5
# lists one in a hundred photos of MS COCO, most of them sharp, and 3 one in three thousand.
FENCE = 2.0
CHUNK = 64  # photos in memory
LEAST_SIDE = 3  # pixels; narrower, there is no Laplacian

# Around 128, since Pillow keeps pixels within 0 to 255.
LAPLACIAN = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)


def duplicates(records: pl.DataFrame, folds: pl.DataFrame) -> pl.DataFrame:
    """Photos that are the same (``same_photo``), but have other labels or play different parts.

    Photos have other labels where one carries a label that another is known not to carry.

    Args:
        records: columns of ``stages.ingest.records``.
        folds: columns of ``stages.split.folds``.

    Returns:
        Columns of ``DUPLICATES``, a row a photo, those of a group one after the other.
    """
    if records.is_empty():
        return pl.DataFrame(schema=DUPLICATES)
    joined = records.drop("part").join(
        folds.select("id", "part"), "id", "left", maintain_order="left"
    )
    grouped = joined.with_columns(
        group=pl.Series(same_photo(records), dtype=pl.Int64),
        part=pl.when(pl.col("subset") == "test").then(pl.lit("test")).otherwise("part"),
    ).filter(pl.len().over("group") > 1)
    of_group = pl.col("labels").explode().drop_nulls().unique()
    others = of_group.over("group", mapping_strategy="join").list.set_difference("labels")
    denied = others.list.set_difference(pl.col("unknown").fill_null([])).list.len() > 0
    parts = pl.col("part").drop_nulls().unique().sort().str.join(" and ").over("group")
    reasons = (
        pl.when(denied.any().over("group")).then(pl.lit("different labels")),
        pl.when(parts.str.contains(" and ")).then(pl.format("in {}", parts)),
    )
    faulty = grouped.with_columns(why=pl.concat_str(reasons, separator=", ", ignore_nulls=True))
    of_groups = faulty.filter(pl.col("why") != "").sort("group", "image")
    return of_groups.select(DUPLICATES.names()).match_to_schema(DUPLICATES)


def odd_photos(records: pl.DataFrame, store: ImageStore) -> pl.DataFrame:
    """Photos too dark, too bright, blurred or odd in shape.

    Args:
        records: columns of ``stages.ingest.records``.
        store: with their photos, which are read chunk by chunk.

    Returns:
        Columns of ``ODD``; measure after measure, the worst of each first. A photo may be there
        for several of them.
    """
    if records.is_empty():
        return pl.DataFrame(schema=ODD)
    sides = pl.min_horizontal("width", "height") / pl.max_horizontal("width", "height")
    measured = measures(records, store)
    photos = records.hstack(measured).with_columns(shape=sides)
    low, middle, high = np.quantile(np.log(measured["sharpness"]), [0.25, 0.5, 0.75])
    blurred, usual = np.exp(low - FENCE * (high - low)), np.exp(middle)
    rules = (
        ("dark", pl.col("dark") < DARK, "99 % of the pixels are darker than {} of white"),
        ("bright", pl.col("bright") > BRIGHT, "95 % of the pixels are brighter than {} of white"),
        ("sharpness", pl.col("sharpness") < blurred, f"blurred: {{}}, usual is {usual:.2g}"),
        ("shape", pl.col("shape") < NARROW, "the short side is {} of the long one"),
    )
    odd = [
        photos.filter(fault)
        .sort(name, descending=name == "bright", maintain_order=True)
        .select(
            *("id", "image", "caption"),
            measure=pl.lit(name),
            value=name,
            why=pl.format(why, pl.col(name).round_sig_figs(2)),
        )
        for name, fault, why in rules
    ]
    return pl.concat(odd).match_to_schema(ODD)


def measures(records: pl.DataFrame, store: ImageStore) -> pl.DataFrame:
    """``dark``, ``bright`` and ``sharpness`` of photos, as from ``measure``: a row each.

    Args:
        records: ``image``, ``width`` and ``height`` of the photos.
    """
    rows = []
    for chunk in records.iter_slices(CHUNK):
        photos, sizes = store.gather(chunk["image"].to_numpy()), chunk.select("width", "height")
        for photo, (width, height) in zip(photos, sizes.iter_rows(), strict=True):
            rows.append(measure(without_bars(photo, shares(store.form.fit, width, height))))
    return pl.DataFrame(rows, ["dark", "bright", "sharpness"], orient="row")


def without_bars(photo: np.ndarray, in_square: tuple[float, float]) -> np.ndarray:
    """What a square shows of its photo, ``LEAST_SIDE`` pixels wide and high at least.

    Args:
        photo: uint8, (size, size, 3).
        in_square: its ``shares``.
    """
    sides = (max(LEAST_SIDE, round(len(photo) / max(1.0, share))) for share in in_square)
    columns, rows = (slice((len(photo) - s) // 2, (len(photo) + s) // 2) for s in sides)
    return photo[rows, columns]


def measure(photo: np.ndarray) -> tuple[float, float, float]:
    """What tells whether a photo is dark, bright or blurred.

    Args:
        photo: uint8, (height, width, 3), each side ``LEAST_SIDE`` at least.

    Returns:
        The 99th and the 5th percentile of brightness, 0 to 1; and sharpness: the variance of the
        Laplacian (Pech-Pacheco et al. 2000), divided by the variance of brightness. That takes
        contrast out, for a plane in a wide sky is not blurred.
    """
    grey = Image.fromarray(photo).convert("L")
    shares = np.cumsum(grey.histogram()) / (grey.width * grey.height)
    bright, dark = np.searchsorted(shares, [0.05, 0.99]) / 255
    inner = (1, 1, grey.width - 1, grey.height - 1)  # beyond there is no Laplacian
    (edges,), (contrast,) = (
        ImageStat.Stat(each).var for each in (grey.filter(LAPLACIAN).crop(inner), grey)
    )
    # Of a photo of one shade both are 0.
    return float(dark), float(bright), max(edges, 1e-6) / max(contrast, 1.0)
