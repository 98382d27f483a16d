from pathlib import Path

import numpy as np
import pytest

from stages.ingest import images
from stages.ingest.form import Form
from stages.ingest.images import SHARD_ROWS, ImageStore, ImageWriter, Known

SIZE = 4


def pixels(content: int) -> np.ndarray:
    """Another photo for each number."""
    return np.random.default_rng(content).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def write(folder: Path, contents: list[int], cache: tuple[Path, list[int]] | None = None) -> None:
    """Writes a store; what ``cache`` (its folder and contents) holds is taken from there."""
    rows: dict[int, list[int]] = {}
    for row, content in enumerate(cache[1] if cache else []):
        rows.setdefault(content, []).append(row)
    folder.mkdir()
    with ImageWriter(folder, Form(SIZE), ImageStore(cache[0]) if cache else None) as writer:
        for row, content in enumerate(contents):
            known = Known(tuple(rows[content])) if content in rows else None
            assert writer.append(known or pixels(content)) == row


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
    ],
)
def test_a_store_from_an_earlier_one_is_the_same_as_a_fresh_one(
    tmp_path: Path, before: list[int], after: list[int], linked: int
) -> None:
    write(tmp_path / "before", before)
    untouched = shards(tmp_path / "before")
    write(tmp_path / "after", after, (tmp_path / "before", before))
    write(tmp_path / "fresh", after)
    assert shards(tmp_path / "after") == shards(tmp_path / "fresh")
    assert shards(tmp_path / "before") == untouched
    same = [
        file.samefile(tmp_path / "before" / file.name)
        for file in (tmp_path / "after").iterdir()
        if (tmp_path / "before" / file.name).exists()
    ]
    assert sum(same) == linked


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
