import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stages.ingest import decode_cache, images, intake, records, spool
from stages.ingest.form import Form


@pytest.fixture
def kept(in_tmp: Path, photo: Callable[..., bytes], ingest: Callable[..., None]) -> Path:
    """The folder of what an ingest of four photos, two of them alike, has kept."""
    (in_tmp / "raw" / "data").mkdir(parents=True)
    lines = ["ImageID,Labels"]
    for number, seed in enumerate([0, 1, 0, 2]):
        (in_tmp / "raw" / "data" / f"{number}.jpg").write_bytes(photo(seed))
        lines.append(f"{number}.jpg,a")
    (in_tmp / "raw" / "train.csv").write_text("\n".join(lines))
    ingest("kaggle-csv", {"test": None})
    return decode_cache.place(Form(16), "raw")


def test_what_is_kept_says_what_decoding_would(kept: Path) -> None:
    cache = decode_cache.load(Form(16), "raw")
    table = records.read()
    assert cache.by_sha256("0" * 64) is None
    for row in table.iter_rows(named=True):
        seen = cache.by_sha256(row["sha256"])
        assert row["image"] in seen.rows
        assert (seen.width, seen.height, seen.dhash) == (row["width"], row["height"], row["dhash"])
    assert cache.by_sha256(table["sha256"][0]).rows == (0, 2)
    np.testing.assert_array_equal(
        cache.store.gather(np.arange(4)), images.ImageStore().gather(np.arange(4))
    )


def test_shards_are_kept_as_links(kept: Path) -> None:
    assert (kept / "00000.npy").samefile(images.IMAGES / "00000.npy")


@pytest.mark.parametrize("form", [Form(17), Form(16, "photo"), Form(16, fit="crop")])
def test_another_form_knows_nothing(kept: Path, form: Form) -> None:
    assert decode_cache.load(form, "raw") is decode_cache.EMPTY


@pytest.mark.parametrize("file", ["index.parquet", "00000.npy"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish" * 100])
def test_a_damaged_cache_counts_as_nothing(kept: Path, file: str, content: bytes | None) -> None:
    (kept / file).unlink()
    if content is not None:
        (kept / file).write_bytes(content)
    assert decode_cache.load(Form(16), "raw") is decode_cache.EMPTY


def test_an_index_of_another_store_counts_as_nothing(kept: Path) -> None:
    index = pl.read_parquet(kept / "index.parquet")
    index.with_columns(pl.col("image") + 1).write_parquet(kept / "index.parquet")
    assert decode_cache.load(Form(16), "raw") is decode_cache.EMPTY


def test_a_killed_run_goes_on_where_it_was(
    in_tmp: Path,
    ingest: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(spool, "PART", 600)  # rows after which it may be time to keep them
    monkeypatch.setattr(intake, "SECONDS_BETWEEN_KEEPING", 0)
    keep, kept = decode_cache.keep, []

    def killed_at_the_third(*what: Any, shards: int | None = None) -> None:
        if len(kept) == 2:
            raise KeyboardInterrupt
        keep(*what, shards=shards)
        kept.append(shards)

    with monkeypatch.context() as until, pytest.raises(KeyboardInterrupt):
        until.setattr(decode_cache, "keep", killed_at_the_third)
        ingest("digits", {})
    assert kept == [1, 2]
    capsys.readouterr()
    ingest("digits", {})
    photos = len(records.read())
    assert f"{photos:,} photos, {photos - 2 * 512:,} decoded" in capsys.readouterr().out
    assert not list(decode_cache.place(Form(16), "raw").parent.glob("*.begun"))
    assert len(decode_cache.load(Form(16), "raw")) == photos


def test_a_run_that_was_killed_early_leaves_what_was_kept(kept: Path) -> None:
    shutil.copytree(kept, kept.with_name(f"{kept.name}.begun"))
    index = pl.read_parquet(kept / "index.parquet")
    index.head(2).write_parquet(kept.with_name(f"{kept.name}.begun") / "index.parquet")
    assert len(decode_cache.load(Form(16), "raw")) == 4
