import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from stages.ingest import images
from stages.ingest.images import (
    SHARD_ROWS,
    ImageStore,
    ImageWriter,
    Known,
    UnreadablePhoto,
    decode,
    difference_hash,
)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def quadrants(size: tuple[int, int]) -> Image.Image:
    """Red and green above, blue and white below."""
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)


def oriented(size: tuple[int, int], orientation: int, format: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(quadrants(size), format, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(60, 40), (1000, 600)])  # the second by a draft of the JPEG
def test_exif_orientation_is_honoured(orientation: int, size: tuple[int, int]) -> None:
    content = oriented(size, orientation)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    photo = decode(content, 32)
    assert (photo.width, photo.height) == upright.size
    expected = np.asarray(upright.resize((32, 32), Image.Resampling.BILINEAR), np.int16)
    assert np.abs(photo.pixels - expected).mean() < 2


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "MPO"])
def test_orientation_in_other_formats(format: str) -> None:
    photo = decode(oriented((64, 32), 6, format), 32)
    assert (photo.width, photo.height) == (32, 64)
    assert np.abs(photo.pixels[4, 4] - np.array([0, 0, 255])).max() < 40
    assert np.abs(photo.pixels[4, -4] - np.array([255, 0, 0])).max() < 40


def test_a_draft_that_is_square_by_rounding_hides_no_side() -> None:
    photo = decode(oriented((1279, 1280), 6), 32)
    assert (photo.width, photo.height) == (1280, 1279)


def test_broken_exif_costs_no_photo() -> None:
    content = encoded(quadrants((60, 40)), "JPEG", exif=b"Exif\0\0rubbish that is no TIFF")
    assert decode(content, 16).pixels[2, 2].tolist() == pytest.approx([255, 0, 0], abs=20)


GREYS = np.array([[0, 32896], [65535, 257]], np.uint16)


@pytest.mark.parametrize(
    ("image", "format", "expected"),
    [
        (Image.fromarray(np.array([[0, 128], [255, 1]], np.uint8)), "PNG", [0, 128, 255, 1]),
        (Image.fromarray(GREYS), "PNG", [0, 128, 255, 1]),
        (Image.fromarray(GREYS), "TIFF", [0, 128, 255, 1]),
        (Image.fromarray(GREYS.astype(np.int32)), "TIFF", [0, 128, 255, 1]),
        (Image.fromarray(np.float32([[0, 0.5], [1, np.nan]])), "TIFF", [0, 128, 255, 0]),
        (Image.fromarray(np.array([[False, True]] * 2)), "PNG", [0, 255, 0, 255]),
    ],
    ids=["grey", "16-bit", "16-bit TIFF", "32-bit", "float", "bilevel"],
)
def test_greys_become_rgb(image: Image.Image, format: str, expected: list[int]) -> None:
    image = image.resize((16, 16), Image.Resampling.NEAREST)
    photo = decode(encoded(image, format), 16)
    assert photo.pixels.shape == (16, 16, 3)
    assert photo.pixels.dtype == np.uint8
    assert (photo.pixels == photo.pixels[..., :1]).all()
    corners = photo.pixels[[0, 0, -1, -1], [0, -1, 0, -1], 0]
    assert corners.tolist() == expected


def test_cmyk_jpeg() -> None:
    red = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    content = encoded(red, "JPEG")
    assert b"Adobe" in content  # whose CMYK is stored inverted
    assert decode(content, 16).pixels[8, 8].tolist() == pytest.approx([255, 0, 0], abs=12)


def test_palette() -> None:
    content = encoded(quadrants((32, 32)).quantize(4), "PNG")
    assert decode(content, 16).pixels[2, 2].tolist() == [255, 0, 0]


def transparent(mode: str, colour: tuple[int, ...]) -> bytes:
    return encoded(Image.new(mode, (16, 16), colour), "PNG")


def test_transparency_is_laid_over_white() -> None:
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    for content, expected in (
        (transparent("RGBA", (200, 0, 0, 0)), [255, 255, 255]),
        (transparent("RGBA", (200, 0, 0, 255)), [200, 0, 0]),
        (transparent("LA", (0, 51)), [204, 204, 204]),
        (encoded(palette, "PNG", transparency=1), [255, 255, 255]),
        (encoded(palette, "PNG", transparency=bytes([0, 255])), [200, 0, 0]),
        (encoded(palette, "GIF", transparency=1), [255, 255, 255]),
        (encoded(Image.new("RGB", (16, 16), "red"), "PNG", transparency=(255, 0, 0)), [255] * 3),
    ):
        assert decode(content, 8).pixels[4, 4].tolist() == expected


def test_an_animation_is_its_first_picture() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(content, 8).pixels[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_tiny_and_narrow_photos(size: tuple[int, int]) -> None:
    photo = decode(encoded(Image.new("RGB", size, (10, 200, 30)), "PNG"), 16)
    assert (photo.width, photo.height) == size
    assert (photo.pixels == [10, 200, 30]).all()


def test_the_resize_is_antialiased() -> None:
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    photo = decode(encoded(Image.fromarray(stripes), "PNG"), 16)
    assert np.abs(photo.pixels.astype(int) - 127).max() <= 4  # sampling would give 0 or 255


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is as large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore")  # as in the stage: of the first, Pillow only warns
@pytest.mark.parametrize("side", [9_500, 20_000, 60_000])
def test_a_decompression_bomb_is_not_decoded(side: int) -> None:
    with pytest.raises(UnreadablePhoto, match="decompression bomb"):
        decode(png_header(side, side), 16)


def test_a_bomb_of_text() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 10**8, zip=True)
    with pytest.raises(UnreadablePhoto, match="cannot be decoded"):
        decode(encoded(Image.new("RGB", (16, 16)), "PNG", pnginfo=text), 16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"GIF?", "not an image"),
        (b"hello, I am a text\n" * 50, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "PostScript"),
    ],
)
def test_what_is_not_a_photo(content: bytes, message: str) -> None:
    with pytest.raises(UnreadablePhoto, match=message):
        decode(content, 16)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "PPM"])
@pytest.mark.parametrize("kept", [0.95, 0.5, 0.01])
def test_truncated_files(format: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    content = encoded(Image.fromarray(noise), format)
    with pytest.raises(UnreadablePhoto):
        decode(content[: int(kept * len(content))], 16)


def test_difference_hash() -> None:
    rising = Image.fromarray(np.tile(np.arange(0, 252, 4, dtype=np.uint8), (64, 1)))
    assert difference_hash(rising) == 2**64 - 1
    assert difference_hash(ImageOps.mirror(rising)) == 0
    half = np.zeros((64, 72), np.uint8)
    half[:8, 8:] = (
        255  # only in the first row of cells, and there only from the first to the second
    )
    assert difference_hash(Image.fromarray(half)) == 1 << 63
    assert difference_hash(Image.new("RGB", (32, 32), "white")) is None


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
    with ImageWriter(folder, SIZE, ImageStore(cache[0]) if cache else None) as writer:
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
    with pytest.raises(ValueError, match="in a store of 4"), ImageWriter(tmp_path, SIZE) as writer:
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
