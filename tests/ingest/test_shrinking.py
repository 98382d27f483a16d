"""Photos too large to be converted whole look the same, and take no more than a strip."""

import zlib

import numpy as np
import pytest
from PIL import Image

from stages.ingest import shrinking
from stages.ingest.decoder import decode
from stages.ingest.form import Fit
from tests.hostile import deflated_zeros, photo, png, png_chunk, saved


@pytest.fixture
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrinking, "WHOLE", 1000)
    monkeypatch.setattr(shrinking, "STRIP", 700)


def deep(*bands: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (97, 97, *bands), np.uint16)


FILES = {
    **{mode: saved(photo(97, mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    "1, transparent": saved(photo(97, "1"), "PNG", transparency=0),
    "P, transparent": saved(photo(97, "P"), "PNG", transparency=bytes(range(256))),
    "CMYK": saved(photo(97, "CMYK"), "TIFF"),
    "16-bit": saved(Image.fromarray(deep()), "PNG"),
    "float": saved(Image.fromarray(deep() / np.float32(65535)), "TIFF"),
}


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("kind", FILES)
def test_strips_are_the_whole(kind: str, fit: Fit, request: pytest.FixtureRequest) -> None:
    whole = decode(FILES[kind], 16, fit=fit)
    request.getfixturevalue("small_strips")
    photo = decode(FILES[kind], 16, fit=fit)
    assert np.abs(photo.pixels.astype(int) - whole.pixels).max() <= 1
    assert (photo.width, photo.height, photo.misfit) == (97, 97, whole.misfit)


def test_colours_of_16_bits_in_strips(request: pytest.FixtureRequest) -> None:
    values = deep(3).astype(">u2").reshape(97, -1).view(np.uint8)
    rows = np.hstack([np.zeros((97, 1), np.uint8), values]).tobytes()
    content, depth = png(97, 97, zlib.compress(rows), bits=16, colour=2), (1000.0, 60_000.0)
    whole = decode(content, 16, depth).pixels.astype(int)
    request.getfixturevalue("small_strips")
    assert np.abs(decode(content, 16, depth).pixels - whole).max() <= 1


@pytest.mark.parametrize("size", [(1, 500_000), (500_000, 1)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_line_of_many_pixels(
    size: tuple[int, int], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.new(mode, size, "white")
    image.paste(0, (0, 0, *(max(1, side // 2) for side in size)))
    monkeypatch.setattr(shrinking, "WHOLE", 1000)
    pixels = decode(saved(image, "PNG"), 16).pixels[..., 0]
    along = pixels[:, 0] if size[0] == 1 else pixels[0]
    assert (along[:7] == 0).all()
    assert (along[9:] == 255).all()


def test_a_large_photo_is_never_whole_in_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    monkeypatch.setattr(shrinking, "WHOLE", 2**20)
    convert = Image.Image.convert

    def counted(image: Image.Image, *options: object) -> Image.Image:
        converted.append(image.width * image.height)
        return convert(image, *options)

    monkeypatch.setattr(Image.Image, "convert", counted)
    clear = png_chunk(b"tRNS", b"\0\0")
    photo = decode(png(3000, 3000, deflated_zeros(3000 * 376), clear, bits=1), 16)
    assert (photo.pixels == 255).all()
    assert max(converted) <= shrinking.STRIP
