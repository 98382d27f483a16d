import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin
from torchvision import transforms

from stages.image_formats import register_heif
from stages.ingest.decoder import BARS, decode, difference_hash
from stages.ingest.form import Fit
from stages.ingest.images import UnreadablePhoto
from tests import hostile


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    if format == "HEIF":
        register_heif()
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


SIZES = [(60, 40), (40, 60), (33, 97), (1000, 600), (17, 17)]


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (33, 97), (17, 17)])
def test_a_crop_is_torchvisions(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    photo = decode(encoded(image, "PNG"), 32, fit="crop")
    expected = np.asarray(transforms.CenterCrop(32)(transforms.Resize(32)(image)), np.int16)
    # It resizes 97 pixels to 94, where 94.06 would keep the aspect.
    assert np.abs(photo.pixels - expected).max() <= (6 if 97 in size else 1)


@pytest.mark.parametrize("size", SIZES)
def test_pad_shows_the_whole_photo_between_bars(size: tuple[int, int]) -> None:
    image = quadrants(size)
    pixels = decode(encoded(image, "PNG"), 32, fit="pad").pixels
    sides = [round(32 * side / max(size)) for side in size]
    left, top = ((32 - side) // 2 for side in sides)
    inner = pixels[top : top + sides[1], left : left + sides[0]]
    expected = image.resize(sides, Image.Resampling.BILINEAR)
    assert (inner == np.asarray(expected)).all()
    is_bar = np.ones((32, 32), bool)
    is_bar[top : top + sides[1], left : left + sides[0]] = False
    assert (pixels[is_bar] == BARS).all()
    assert is_bar.sum() == 32 * 32 - sides[0] * sides[1]


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(60, 40), (1000, 600)])
def test_photos_are_fitted_upright(size: tuple[int, int], orientation: int, fit: Fit) -> None:
    content = oriented(size, orientation)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    turned = decode(content, 32, fit=fit)
    expected = decode(encoded(upright, "PNG"), 32, fit=fit)
    assert np.abs(turned.pixels.astype(int) - expected.pixels).mean() < 2
    # Which photos are the same does not hang on it.
    assert (turned.dhash, turned.width) == (decode(content, 32).dhash, upright.width)


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (1, 1)])
def test_a_photo_like_a_line_is_fitted(size: tuple[int, int]) -> None:
    content = encoded(Image.new("RGB", size, (200, 0, 0)), "PNG")
    for fit, red in (("crop", 32 * 32), ("pad", 32 * 32 if size == (1, 1) else 32)):
        pixels = decode(content, 32, fit=fit).pixels
        assert pixels.shape == (32, 32, 3)
        assert (pixels == (200, 0, 0)).all(axis=2).sum() == red


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
        (Image.fromarray(GREYS), "PPM", [0, 128, 255, 1]),
        (Image.fromarray(np.float32([[0, 0.5], [1, 1 / 255]])), "TIFF", [0, 128, 255, 1]),
        (Image.fromarray(np.array([[False, True]] * 2)), "PNG", [0, 255, 0, 255]),
    ],
    ids=["grey", "16-bit", "16-bit TIFF", "16-bit PGM", "float", "bilevel"],
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


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Colours whose red is sRGB's green, and the other way round.
SWAPPED = SRGB.replace(b"rXYZ", b"none").replace(b"gXYZ", b"rXYZ").replace(b"none", b"gXYZ")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_colours_are_brought_to_srgb(format: str) -> None:
    content = encoded(Image.new("RGB", (64, 32), (180, 90, 60)), format, icc_profile=SWAPPED)
    photo = decode(content, 16, fit="pad")
    assert photo.pixels[8, 8].tolist() == pytest.approx([90, 180, 60], abs=6)
    assert (photo.pixels[0, 0] == BARS).all()


@pytest.mark.parametrize("odd", [SRGB, b"\xff" * 500, SWAPPED[:200], SWAPPED + bytes(2**20)])
def test_profiles_that_are_srgb_or_broken_change_nothing(odd: bytes) -> None:
    image = quadrants((40, 30))
    plain, photo = encoded(image, "TIFF"), encoded(image, "TIFF", icc_profile=odd)
    assert (decode(photo, 16).pixels == decode(plain, 16).pixels).all()


def test_a_profile_of_grey_is_left_alone() -> None:
    grey = quadrants((40, 30)).convert("L")
    photo = encoded(grey, "PNG", icc_profile=SWAPPED)
    assert (decode(photo, 16).pixels == decode(encoded(grey, "PNG"), 16).pixels).all()


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
        (hostile.EPS, "not an image"),
        (hostile.iptc(hostile.EPS), "not an image"),
    ],
)
def test_what_is_not_a_photo(content: bytes, message: str) -> None:
    with pytest.raises(UnreadablePhoto, match=message):
        decode(content, 16)


NO_PROGRAM = """
import io
from PIL import Image
from stages.ingest.decoder import UnreadablePhoto, decode
from tests.hostile import EPS, iptc

for content in (EPS, iptc(EPS), iptc(iptc(EPS))):
    try: decode(content, 16)
    except UnreadablePhoto as error: print(error)
with Image.open(io.BytesIO(EPS)) as image:  # whoever else opens it in this process
    try: image.load()
    except OSError as error: print(error)
"""


def test_no_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by a file in another; a process of its own, as Pillow looks for Ghostscript once."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command = [sys.executable, "-c", NO_PROGRAM]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert not (tmp_path / "started").exists()
    assert ["not an image" in line for line in said] == [True] * 3 + [False]
    assert "Ghostscript" in said[-1]


@pytest.mark.parametrize("file", hostile.NESTED, ids=lambda file: file.kind)
def test_what_hides_another_file_is_not_opened(
    file: hostile.File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.core, "new", None)  # whoever asks for room for pixels fails
    with pytest.raises(UnreadablePhoto) as caught:
        decode(file.content, 16)
    assert "NoneType" not in str(caught.value)


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


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_formats_of_cameras_and_phones_are_read(form: str) -> None:
    photo = decode(encoded(quadrants((40, 30)), form), 16)
    assert (photo.width, photo.height) == (40, 30)
    assert np.abs(photo.pixels[2, 2] - np.array([255, 0, 0])).max() < 40


def test_heic_without_the_plug_in_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(encoded(quadrants((40, 30)), "HEIF"))
    program = (
        "import sys; sys.modules['pillow_heif'] = None\n"  # what an import of it then fails with
        "from pathlib import Path\n"
        "from stages.image_formats import suffixes\n"
        "from stages.ingest.decoder import UnreadablePhoto, decode\n"
        "assert '.heic' in suffixes()\n"
        "try: decode(Path(sys.argv[1]).read_bytes(), 16)\n"
        "except UnreadablePhoto as error: print(error)"
    )
    command = [sys.executable, "-c", program, tmp_path / "photo.heic"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install pillow-heif" in result.stdout
