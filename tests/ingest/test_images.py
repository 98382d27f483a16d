import os
import resource
from pathlib import Path

import numpy as np
import pytest

from stages.ingest import images
from stages.ingest.form import Codec, Form
from stages.ingest.images import SHARD_ROWS, ImageStore, ImageWriter, Known

SIZE = 4


def pixels(content: int) -> np.ndarray:
    """Another photo for each number."""
    return np.random.default_rng(abs(content)).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def write(
    folder: Path,
    contents: list[int],
    cache: tuple[Path, list[int]] | None = None,
    codec: Codec = "raw",
) -> None:
    """Writes a store; what ``cache`` (its folder and contents) holds is taken from there.

    Negative contents are photos that were set aside.
    """
    rows: dict[int, list[int]] = {}
    for row, content in enumerate(cache[1] if cache else []):
        rows.setdefault(content, []).append(row)
    folder.mkdir()
    with ImageWriter(folder, Form(SIZE), codec, ImageStore(cache[0]) if cache else None) as writer:
        for row, content in enumerate(contents):
            known = Known(tuple(rows[content])) if content in rows else pixels(content)
            assert writer.append(known if content >= 0 else None) == row


def shards(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("count", [1, SHARD_ROWS - 1, SHARD_ROWS, SHARD_ROWS + 1, 2 * SHARD_ROWS])
def test_a_store_reads_back(tmp_path: Path, count: int) -> None:
    write(tmp_path / "store", list(range(count)))
    store = ImageStore(tmp_path / "store")
    assert (len(store), store.size) == (count, SIZE)
    assert len(shards(tmp_path / "store")) == -(-count // SHARD_ROWS)
    rows = np.array([count - 1, 0, count // 2, 0])
    np.testing.assert_array_equal(store.gather(rows), [pixels(row) for row in rows])
    # What NumPy itself would have written.
    last = np.stack([pixels(row) for row in range((count - 1) // SHARD_ROWS * SHARD_ROWS, count)])
    np.save(tmp_path / "last.npy", last)
    assert (tmp_path / "last.npy").read_bytes() == max(sorted(shards(tmp_path / "store").items()))[
        1
    ]


def test_a_store_of_more_shards_than_files_that_may_be_open(tmp_path: Path) -> None:
    for number in range(40):
        np.save(tmp_path / f"{number:05}.npy", np.full((1, SIZE, SIZE, 3), number, np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
    try:
        assert ImageStore(tmp_path).gather(np.arange(40))[:, 0, 0, 0].tolist() == list(range(40))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_store_of_more_shards_than_there_may_be_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAPS", 3)
    for number in range(8):
        np.save(tmp_path / f"{number:05}.npy", np.full((1, SIZE, SIZE, 3), number, np.uint8))
    before, store = len(os.listdir("/proc/self/fd")), ImageStore(tmp_path)
    rows = np.arange(8).repeat(2)
    assert store.gather(rows)[:, 0, 0, 0].tolist() == rows.tolist()
    assert len(os.listdir("/proc/self/fd")) - before <= 3


FULL = list(range(SHARD_ROWS))
LONG = list(range(SHARD_ROWS + 10))


@pytest.mark.parametrize(
    ("before", "after", "linked"),
    [
        (LONG, LONG, 2),
        (FULL, LONG, 1),
        (LONG, FULL, 1),
        (LONG, [*LONG, 9001, 9002], 1),
        (LONG, LONG[:-3], 1),
        (FULL[:100], FULL[:50], 0),
        (FULL[:100], FULL, 0),
        (LONG, LONG[: SHARD_ROWS + 1], 1),
        (LONG, LONG[:200] + LONG[201:], 0),
        (LONG, LONG[1:], 0),
        (LONG, [9001, *LONG], 0),
        (LONG, LONG[::-1], 0),
        (LONG, [*LONG[:5], 9001, *LONG[6:]], 1),
        (LONG, LONG[SHARD_ROWS:] + LONG[:SHARD_ROWS], 0),
        (LONG + LONG[:5], LONG + LONG[:5], 2),
        ([1, 1, 2, 1], [1, 1, 2, 1], 1),
        ([1, 1, 2, 1], [1, 2, 1, 1, 1], 0),
        ([1, 2, 3], [7, 8, 9], 0),
        ([1, -1, 3], [1, -1, 3], 1),
        ([1, -1, 3], [1, 2, 3], 0),
        ([1, 2, 3], [1, -1, 3], 0),
        (LONG, [*LONG, -1, -1], 1),
        ([-1, -1], [-1, -1], 1),
        ([1, 2], [-1], 0),
    ],
)
@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_a_store_from_an_earlier_one_is_the_same_as_a_fresh_one(
    tmp_path: Path, before: list[int], after: list[int], linked: int, codec: Codec
) -> None:
    write(tmp_path / "before", before, codec=codec)
    untouched = shards(tmp_path / "before")
    write(tmp_path / "after", after, (tmp_path / "before", before), codec)
    write(tmp_path / "fresh", after, codec=codec)
    assert shards(tmp_path / "after") == shards(tmp_path / "fresh")
    assert shards(tmp_path / "before") == untouched
    same = [
        file.samefile(tmp_path / "before" / file.name)
        for file in (tmp_path / "after").iterdir()
        if (tmp_path / "before" / file.name).exists()
    ]
    if codec == "jpeg":  # beside each shard lies where its photos end
        linked *= 2
    assert sum(same) == linked


def test_an_empty_row_is_black_and_empty(tmp_path: Path) -> None:
    for codec in ("raw", "jpeg"):
        write(tmp_path / codec, [-1, 5], codec=codec)
        store = ImageStore(tmp_path / codec)
        assert not store.photo(0).any()
        assert store.photo(1).any()
        assert [store.shards[0].is_empty(row) for row in range(2)] == [True, False]


def test_jpeg_is_the_photo_nearly(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    with ImageWriter(tmp_path, Form(64, fit="pad"), "jpeg") as writer:
        for _ in range(SHARD_ROWS + 1):
            writer.append(smooth)
    store = ImageStore(tmp_path)
    assert (store.codec, store.size, store.form, len(store)) == (
        *("jpeg", 64, Form(64, fit="pad")),
        SHARD_ROWS + 1,
    )
    assert np.abs(store.photo(SHARD_ROWS).astype(int) - smooth).max() < 6
    assert sum(map(len, shards(tmp_path).values())) < 0.2 * smooth.nbytes * len(store)


def test_a_store_says_how_many_rows_a_shard_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "SHARD_ROWS", 3)
    write(tmp_path / "store", list(range(8)))
    monkeypatch.undo()
    store = ImageStore(tmp_path / "store")
    assert (len(store), store.shard_rows) == (8, 3)
    np.testing.assert_array_equal(store.photo(7), pixels(7))


def test_a_photo_of_another_size_is_no_row(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="in a store of 4"),
        ImageWriter(tmp_path, Form(SIZE)) as writer,
    ):
        writer.append(np.zeros((SIZE, SIZE + 1, 3), np.uint8))


def test_an_empty_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the ingest stage"):
        ImageStore(tmp_path)


def test_links_across_file_systems_are_copies(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    (tmp_path / "here").write_bytes(b"content")
    target = other / f"tagloom-{tmp_path.name}-{id(tmp_path)}"
    try:
        images.link_or_copy(tmp_path / "here", target)
        assert target.read_bytes() == b"content"
        assert not target.samefile(tmp_path / "here")
    finally:
        target.unlink(missing_ok=True)
