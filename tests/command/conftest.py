"""Photos to name."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from stages.ingest.images import ImageStore


def photo(path: Path, seed: int = 0) -> Path:
    """Writes noise there, whatever the name ends in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(noise).save(path, "PNG")
    return path


@pytest.fixture
def album(bundle: Path, in_tmp: Path) -> Path:
    """A folder with ``photos/`` of the test set, as PNG, and ``photos.csv`` with their captions."""
    project = bundle.parents[1]
    store = ImageStore(project / "data/images")
    records = pl.read_parquet(project / "data/records.parquet")
    test = records.filter(pl.col("subset") == "test").head(6)
    (in_tmp / "photos").mkdir()
    for id, image in test.select("id", "image").iter_rows():
        Image.fromarray(store.gather(np.array([image]))[0]).save(in_tmp / f"photos/{id}.png")
    named = test.select(pl.format("photos/{}.png", "id").alias("photo"), "caption", "labels")
    named.with_columns(pl.col("labels").list.join(" ")).write_csv(in_tmp / "photos.csv")
    return in_tmp
