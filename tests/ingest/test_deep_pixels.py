"""Pixels of more than 8 bits, by every way in which files hold them."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.ingest import images
from stages.ingest.decoder import decode
from stages.ingest.deep_pixels import Misfit
from stages.ingest.form import Depth, Form
from stages.ingest.images import ImageStore, UnreadablePhoto
from tests.hostile import png

GREY, RGB, CMYK = 1, 2, 5  # photometric interpretations
WHITE_IS_ZERO = 0
CORNERS = [0, 0, -1, -1], [0, -1, 0, -1]


def tiff(pixels: np.ndarray, photometric: int, *extra: int, **more: int) -> bytes:
    """A TIFF of ``pixels`` (h, w) or (h, w, bands) as they are; zipped with ``compression=8``."""
    height, width, bands = (*pixels.shape, 1)[:3]
    planes, compression = more.get("planes", 1), more.get("compression", 1)
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    body = (np.moveaxis(pixels, 2, 0) if planes == 2 else pixels).tobytes()
    body = zlib.compress(body) if compression == 8 else body
    length = len(body)

    def numbers(*values: int) -> tuple[int, int, bytes]:
        nonlocal body
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            packed, body = struct.pack(f"{order}I", 8 + len(body)), body + packed
        return 4, len(values), packed

    bits, kind = more.get("bits", 8 * pixels.itemsize), {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    parts = bands if planes == 2 else 1
    tags = {256: [width], 257: [height], 258: [bits] * bands, 259: [compression]}
    tags |= {262: [photometric], 273: [8 + length // parts * part for part in range(parts)]}
    tags |= {277: [bands], 278: [height], 279: [length // parts] * parts, 284: [planes]}
    tags |= ({338: list(extra)} if extra else {}) | {339: [kind] * bands}
    entries = [struct.pack(f"{order}HHI4s", tag, *numbers(*tags[tag])) for tag in sorted(tags)]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)


def deep_png(pixels: np.ndarray) -> bytes:
    """A PNG of uint16 ``pixels`` (h, w) or (h, w, bands), 1 to 4 of them."""
    height, width, bands = (*pixels.shape, 1)[:3]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(">u2"))
    return png(width, height, zlib.compress(rows), bits=16, colour={1: 0, 2: 4, 3: 2, 4: 6}[bands])


def pgm(pixels: np.ndarray, most: int) -> bytes:
    """A PGM, or with three bands a PPM, whose values go up to ``most``."""
    kind = b"P5" if pixels.ndim == 2 else b"P6"
    size = f" {pixels.shape[1]} {pixels.shape[0]} {most}\n".encode()
    return kind + size + pixels.astype(">u2").tobytes()


def squares(*corners: Any, dtype: str = "<u2") -> np.ndarray:
    """16 × 16 pixels: a square of each of four values, or of four colours."""
    return np.array([corners[:2], corners[2:]], dtype).repeat(8, axis=0).repeat(8, axis=1)


def corners(content: bytes, depth: Depth = "type") -> list[list[int]]:
    return decode(content, 16, depth).pixels[CORNERS].tolist()


def greys(content: bytes, depth: Depth = "type") -> list[int]:
    red, green, blue = np.transpose(corners(content, depth)).tolist()
    assert red == green == blue
    return red


TWELVE = squares(100, 4000, 2050, 100)  # of 12 bits


def twelve_bits_packed() -> bytes:
    pairs = TWELVE.reshape(-1, 2).astype(int)
    left, right = pairs[:, 0], pairs[:, 1]
    packed = np.stack([left >> 4, (left & 15) << 4 | right >> 8, right & 255], axis=1)
    content = tiff(packed.astype(np.uint8).reshape(16, 24), GREY, bits=12)
    return content.replace(struct.pack("<HHII", 256, 4, 1, 24), struct.pack("<HHII", 256, 4, 1, 16))


@pytest.mark.parametrize(
    ("content", "expected", "misfit"),
    [
        (deep_png(TWELVE), [0, 16, 8, 0], Misfit.NARROW),
        (tiff(TWELVE, GREY), [0, 16, 8, 0], Misfit.NARROW),
        (tiff(TWELVE.astype(">u2"), GREY, compression=8), [0, 16, 8, 0], Misfit.NARROW),
        (twelve_bits_packed(), [6, 249, 128, 6], Misfit.NONE),
        (pgm(TWELVE, 4095), [6, 249, 128, 6], Misfit.NONE),
        (pgm(TWELVE, 65535), [0, 16, 8, 0], Misfit.NARROW),
        (tiff(TWELVE, WHITE_IS_ZERO), [255, 239, 247, 255], Misfit.NARROW),
        (tiff(squares(-(2**15), 0, 2**15 - 1, -1, dtype="<i2"), GREY), [0, 128, 255, 127], 0),
        (tiff(squares(-(2**31), 0, 2**31 - 1, -1, dtype=">i4"), GREY), [0, 128, 255, 127], 0),
        (tiff(squares(0, 2**31, 2**32 - 1, 0, dtype="<u4"), GREY), [0, 128, 255, 0], Misfit.NONE),
        (tiff(squares(0, 70_000, 300, 0, dtype="<i4"), GREY), [128] * 4, Misfit.NARROW),
        (tiff(squares(0, 0.5, 1, 0.25, dtype="<f4"), GREY), [0, 128, 255, 64], Misfit.NONE),
        (tiff(squares(0, 0.1, 0.2, 0, dtype="<f4"), GREY), [0, 26, 51, 0], Misfit.NARROW),
        (tiff(squares(0, 0.5, 3000, -1, dtype=">f4"), GREY), [0, 128, 255, 0], Misfit.BEYOND),
    ],
)
def test_the_range_of_the_type(content: bytes, expected: list[int], misfit: int) -> None:
    assert greys(content) == expected
    assert decode(content, 16).misfit == misfit


@pytest.mark.parametrize(
    "content",
    [
        deep_png(TWELVE),
        twelve_bits_packed(),
        pgm(TWELVE, 4095),
        *(tiff(TWELVE.astype(kind), GREY) for kind in ("<u2", ">u2", "<i2", "<i4", "<u4", "<f4")),
    ],
)
def test_the_photo_s_own_range_and_given_bounds(content: bytes) -> None:
    assert greys(content, "photo") == [0, 255, 128, 0]
    assert greys(content, (0, 4100)) == [6, 249, 128, 6]
    assert greys(content, (1075, 3025)) == [0, 255, 128, 0]  # beyond is black or white
    for depth, misfit in {"photo": 0, (0, 4095): 0, (0, 20_000): 1, (4000, 9000): 1}.items():
        assert decode(content, 16, depth).misfit == misfit


def test_a_photo_of_one_value_is_black_by_its_own_range() -> None:
    assert greys(tiff(squares(*[7.5] * 4, dtype="<f4"), GREY), "photo") == [0] * 4
    assert greys(deep_png(squares(*[9000] * 4)), "photo") == [0] * 4


def test_small_steps_of_large_numbers_are_kept() -> None:
    content = tiff(squares(10**9, 10**9 + 255, 10**9 + 20, 10**9, dtype="<i4"), GREY)
    assert greys(content, "photo") == [0, 255, 20, 0]


COLOURS = [[0, 0, 0], [4000, 0, 0], [4000, 2000, 0], [1000, 1000, 4000]]
CLEAR = [[*colour, alpha] for colour, alpha in zip(COLOURS, [65535, 65535, 0, 65535], strict=True)]


@pytest.mark.parametrize(
    "content",
    [
        deep_png(squares(*COLOURS)),
        *(
            tiff(squares(*COLOURS, dtype=order), RGB, compression=compression)
            for order in ("<u2", ">u2")
            for compression in (1, 8)
        ),
    ],
)
def test_deep_colours(content: bytes) -> None:
    expected = [[0, 0, 0], [255, 0, 0], [255, 128, 0], [64, 64, 255]]
    assert corners(content, "photo") == expected
    assert corners(content, (0, 4000)) == expected
    assert corners(content) == [[value >> 8 for value in colour] for colour in COLOURS]
    assert decode(content, 16).misfit == Misfit.NARROW
    assert decode(content, 16, "photo").misfit == Misfit.NONE


@pytest.mark.parametrize("content", [deep_png(squares(*CLEAR)), tiff(squares(*CLEAR), RGB, 2)])
def test_transparency_is_no_colour(content: bytes) -> None:
    assert corners(content, "photo") == [[0, 0, 0], [255, 0, 0], [255] * 3, [64, 64, 255]]
    assert corners(content)[1:3] == [[15, 0, 0], [255] * 3]
    assert decode(content, 16).misfit == Misfit.NARROW


def test_a_deep_grey_with_transparency() -> None:
    content = deep_png(squares([0, 65535], [4000, 65535], [2000, 0], [1000, 65535]))
    assert greys(content, "photo") == [0, 255, 255, 64]
    assert greys(content)[1] == 15


def test_a_deep_photo_is_turned_upright() -> None:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(TWELVE[:, :12]).save(stream, "TIFF", exif=exif)
    photo = decode(stream.getvalue(), 16, "photo")
    assert (photo.width, photo.height) == (16, 12)
    assert photo.pixels[CORNERS][:, 0].tolist() == [128, 0, 0, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("depth", ["type", "photo", (0, 1)])
def test_what_is_no_number_has_no_shade(value: float, depth: Depth) -> None:
    content = tiff(squares(0, 1, 0.5, value, dtype="<f4"), GREY)
    with pytest.raises(UnreadablePhoto, match="NaN"):
        decode(content, 16, depth)


EIGHT = np.random.default_rng(0).integers(0, 256, (16, 16, 6), np.uint8)
DEEP = np.random.default_rng(0).integers(0, 65536, (16, 16, 6), np.uint16)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(EIGHT[..., :4], RGB, 0), "4 bands, 1 beside"),
        (tiff(EIGHT[..., :4], RGB), "4 bands, 1 beside"),  # of which Pillow makes transparency
        (tiff(EIGHT[..., :5], RGB, 2, 0), "5 bands, 2 beside"),
        (tiff(EIGHT, RGB, 0, 0, 0), "6 bands, 3 beside"),
        (tiff(DEEP[..., :4], RGB, 0), "4 bands, 1 beside"),
        (tiff(EIGHT[..., :2], GREY, 0), "2 bands, 1 beside"),
        (tiff(EIGHT[..., :5], CMYK, 0), "5 bands, 1 beside"),
        (tiff(EIGHT[..., :4], RGB, 0, compression=8), "4 bands, 1 beside"),
        (tiff(EIGHT[..., :4], GREY, 0, 0, 0), "a TIFF of a kind that Pillow cannot read"),
        (tiff(DEEP[..., :3].astype("<f4"), RGB), "a TIFF of a kind that Pillow cannot read"),
        (tiff(DEEP[..., 0].astype("<f8"), GREY), "a TIFF of a kind that Pillow cannot read"),
        (tiff(DEEP[..., :3], RGB, planes=2), "16 bits are stored one by one"),
        (tiff(EIGHT[..., 0].view("i1"), GREY), "8 bits with a sign"),
    ],
)
@pytest.mark.parametrize("depth", ["type", "photo"])
def test_no_band_is_lost(content: bytes, reason: str, depth: Depth) -> None:
    with pytest.raises(UnreadablePhoto, match=reason):
        decode(content, 16, depth)


def test_colours_that_only_their_type_can_scale() -> None:
    for content in (pgm(DEEP[..., :3], 65535), tiff(DEEP[..., :4], CMYK)):
        assert decode(content, 16).pixels.any()
        with pytest.raises(UnreadablePhoto, match="nothing but their type's range"):
            decode(content, 16, "photo")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "PPM"])
def test_photos_of_8_bits_are_the_same_in_any_case(format: str) -> None:
    for mode in ("RGB", "L", "RGBA", "CMYK"):
        stream = io.BytesIO()
        try:
            Image.fromarray(EIGHT[..., :3]).convert(mode).save(stream, format)
        except (OSError, KeyError):  # the format has no such photos
            continue
        plain = decode(stream.getvalue(), 12)
        for depth in ("photo", (3, 9)):
            assert (decode(stream.getvalue(), 12, depth).pixels == plain.pixels).all()
        assert plain.misfit == Misfit.NONE


@pytest.fixture
def take_in(ingest: Callable[..., None]) -> Callable[[Depth], dict[str, Any]]:
    """Runs the stage on X-rays of 12 bits and a photo of 8, and returns its figures."""

    def run(depth: Any) -> dict[str, Any]:
        ingest("kaggle-csv", {"test": None}, depth=depth)
        return json.loads(Path("metrics/ingest.json").read_text())

    data = Path("raw/data")
    data.mkdir(parents=True)
    for number in range(3):
        (data / f"{number}.png").write_bytes(deep_png(TWELVE + number))
    (data / "3.png").write_bytes(png(1, 1, zlib.compress(b"\0\0")))
    rows = "".join(f"{number}.png,a\n" for number in range(4))
    (data.parent / "train.csv").write_text(f"ImageID,Labels\n{rows}")
    return run


def test_the_stage_counts_photos_of_a_narrow_range_and_says_what_to_do(
    take_in: Callable[[Any], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # the second time they are known, and not decoded
        assert take_in("type")["photos_of_narrow_range"] == 3
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("ingest: warning: 3 photos use 25% of the range of their type")
        assert "ingest.depth" in last
    assert (ImageStore().form, ImageStore().photo(0).max()) == (Form(16), 16)
    assert not (images.IMAGES / images.DEPTH).exists()


def test_another_depth_is_another_store(
    take_in: Callable[[Any], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    take_in("type")
    for depth, form, most in (
        ("photo", Form(16, "photo"), 255),
        ([0, 4095], Form(16, (0, 4095)), 249),
        ([0, 65_535], Form(16, (0, 65_535)), 16),
    ):
        capsys.readouterr()
        narrow = 3 if most == 16 else 0
        assert take_in(depth)["photos_of_narrow_range"] == narrow
        assert ("25% of ingest.depth = [0.0, 65535.0]" in capsys.readouterr().out) == bool(narrow)
        assert (ImageStore().form, ImageStore().photo(0).max()) == (form, most)


def test_floating_point_photos_beyond_their_range_are_counted(
    take_in: Callable[[Any], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("raw/data/1.png").write_bytes(tiff(TWELVE.astype("<f4"), GREY))
    figures = take_in("type")
    assert (figures["photos_of_narrow_range"], figures["photos_beyond_range"]) == (2, 1)
    assert "1 photos go beyond the range of their type" in capsys.readouterr().out
