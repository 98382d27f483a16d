"""Files and uploads that are broken, odd or malicious, each made by code.

``FILES`` are for whatever opens photos; ``UPLOADS`` are forms for the service, ``RAW`` bytes for
its port. Each says what has to come of it, where a photo may have 1 MiB and a request 4 MiB.
"""

import gzip
import io
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from stages.image_formats import register_heif

SIDE = 48  # of photos that are odd in other ways than by size


@dataclass(frozen=True)
class File:
    """A file that somebody may take for a photo.

    Attributes:
        kind: what is wrong with it; one word with hyphens.
        name: that it comes under.
        make: makes its bytes.
        readable: True: it is a photo, if an odd one; False: it has to be refused; None: either,
            as it depends on Pillow's plug-ins.
    """

    kind: str
    name: str
    make: Callable[[], bytes]
    readable: bool | None

    @cached_property
    def content(self) -> bytes:
        return self.make()


def photo(side: int = SIDE, mode: str = "RGB") -> Image.Image:
    """Coloured noise under a gradient, the same each time."""
    pixels = np.random.default_rng(0).integers(0, 128, (side, side, 3), np.uint8)
    pixels += np.linspace(0, 127, side, dtype=np.uint8)[:, None, None]
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def jpeg(side: int = SIDE, **options: object) -> bytes:
    return saved(photo(side), "JPEG", **options)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png(
    width: int, height: int, idat: bytes, *more: bytes, bits: int = 1, colour: int = 0
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), *more, png_chunk(b"IDAT", idat), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def deflated_zeros(count: int) -> bytes:
    squeeze, block = zlib.compressobj(1), bytes(2**20)
    parts = [
        squeeze.compress(block[: min(len(block), count - at)]) for at in range(0, count, 2**20)
    ]
    return b"".join(parts) + squeeze.flush()


def png_bomb() -> bytes:
    """20,000 × 20,000 black pixels in some 200 kB."""
    return png(20_000, 20_000, deflated_zeros(20_000 * 2501))


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    content = jpeg()
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def gif_of_size(width: int, height: int) -> bytes:
    content = saved(photo(), "GIF")
    return content[:6] + struct.pack("<HH", width, height) + content[10:]


def bmp_of_size(width: int, height: int) -> bytes:
    content = saved(photo(), "BMP")
    return content[:18] + struct.pack("<ii", width, height) + content[26:]


def tiff(entries: list[tuple[int, int, int, int]], after: int = 0, data: bytes = b"") -> bytes:
    """A TIFF of one directory at 8: (tag, type, count, value) each, and where the next one is."""
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory = struct.pack("<H", len(entries)) + rows + struct.pack("<I", after)
    return b"II*\0" + struct.pack("<I", 8) + directory + data


def tiff_of(width: int, height: int, compression: int = 1, count: int = 1, after: int = 0) -> bytes:
    entries = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression)),
        *((262, 3, 1, 1), (273, 4, count, 200), (277, 3, 1, 1), (278, 4, 1, height)),
        (279, 4, 1, width),
    ]
    return tiff(entries, after, bytes(300))


def float_tiff(value: float) -> bytes:
    pixels = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    pixels[::2] = value
    return saved(Image.fromarray(pixels), "TIFF")


def with_exif(raw: bytes) -> bytes:
    return jpeg(exif=b"Exif\0\0" + raw)


def exif_loop() -> bytes:
    """A directory whose sub-directory, and whose next one, is itself."""
    return with_exif(tiff([(0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0x0112, 3, 1, 6)], after=8))


def orientation(value: int) -> bytes:
    return with_exif(tiff([(0x0112, 3, 1, value)]))


def animated(format: str, frames: int = 5, **options: object) -> bytes:
    others = [photo().rotate(90 * number) for number in range(1, frames)]
    return saved(photo(), format, save_all=True, append_images=others, **options)


def many_frames() -> bytes:
    frames = [Image.new("L", (4, 4), number % 256) for number in range(1000)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


def bad_crc() -> bytes:
    content = bytearray(saved(photo(), "PNG"))
    content[content.index(b"IHDR") + 18] ^= 255
    return bytes(content)


def flipped(content: bytes, share: float) -> bytes:
    """``share`` of the bytes in the last two thirds are others."""
    broken, noise = bytearray(content), random.Random(0)
    for place in range(len(broken) // 3, len(broken)):
        if noise.random() < share:
            broken[place] ^= noise.randrange(1, 256)
    return bytes(broken)


def text_bomb() -> bytes:
    """A PNG of one pixel with a comment of 64 MiB, compressed."""
    text = png_chunk(b"zTXt", b"Comment\0\0" + deflated_zeros(2**26))
    return png(1, 1, zlib.compress(b"\0\0"), text)


def profile_bomb() -> bytes:
    """A PNG of one pixel with a colour profile of 64 MiB, compressed."""
    profile = png_chunk(b"iCCP", b"profile\0\0" + deflated_zeros(2**26))
    return png(1, 1, zlib.compress(b"\0\0"), profile)


def tiff_bomb() -> bytes:
    """A TIFF of 50,000 × 50,000 pixels in a strip of deflated zeros."""
    return tiff_of(50_000, 50_000, compression=8)[:122].ljust(200, b"\0") + deflated_zeros(2**20)


def zipped(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("photo.jpg"))
    return stream.getvalue()


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there so many times."""
    content = jpeg(progressive=True)
    at = content.rindex(b"\xff\xda")
    return content[:at] + content[at:-2] * count + b"\xff\xd9"


def scan_bomb() -> bytes:
    """A grey JPEG of 60 million pixels and 300 scans, each of which says in few bytes: nothing.

    Each goes over all of the pixels, so that a file of a few megabytes could take hours.
    """
    whole = saved(Image.new("L", (8, 8), 128), "JPEG", progressive=True)
    begin = whole[: whole.index(b"\xff\xda")]
    at = begin.index(b"\xff\xc2") + 5
    begin = begin[:at] + struct.pack(">HH", 7744, 7744) + begin[at + 4 :]
    # A table in which the code 0 means: so many blocks without a change, as the next 14 bits say.
    table = jpeg_segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0")
    head = jpeg_segment(0xDA, bytes([1, 1, 0, 1, 63, 0]))
    runs = -(-968 * 968 // (2**15 - 1))
    bits = "".join("0" + "1" * 14 for _ in range(runs))
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return begin + table + (head + coded) * 300 + b"\xff\xd9"


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run showpage\n"


def iptc(content: bytes, compression: int = 5) -> bytes:
    """IPTC records that say 32 × 32 grey pixels, around any file; 5 is how JPEG is named."""

    def record(number: int, dataset: int, value: bytes) -> bytes:
        # Its length in four bytes, which five say.
        return bytes([0x1C, number, dataset, 132]) + struct.pack(">xI", len(value)) + value

    side = record(3, 20, b"\0\x20") + record(3, 30, b"\0\x20")
    head = record(3, 60, b"\1\0") + side + record(3, 120, bytes([compression]))
    return head + record(8, 10, content)


def blp(content: bytes) -> bytes:
    """The format of a game's textures that says 16 × 16 pixels, around a JPEG."""
    head = b"BLP1" + struct.pack("<iIIIiI", 0, 0, 16, 16, 0, 0)
    places = [156 + 4, *[0] * 15, len(content), *[0] * 15]
    return head + struct.pack("<32I", *places) + struct.pack("<I", 0) + content


def icon(content: bytes) -> bytes:
    """A Windows icon of 16 × 16 pixels around a PNG."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(content), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + content


def apple_icon(content: bytes) -> bytes:
    """An icon of macOS that says 128 × 128 pixels around a PNG."""
    block = b"ic07" + struct.pack(">I", len(content) + 8) + content
    return b"icns" + struct.pack(">I", len(block) + 8) + block


def large_png() -> bytes:
    """13,000 × 13,000 black pixels in some 21 kB."""
    return png(13_000, 13_000, deflated_zeros(13_000 * 1626))


def large_jpeg() -> bytes:
    return saved(Image.new("L", (6000, 6000)), "JPEG")


def inserted(content: bytes, at: int, more: bytes) -> bytes:
    return content[:at] + more + content[at:]


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def heif(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(500)


def text_chunk_png() -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "x" * 100_000)
    return saved(photo(), "PNG", pnginfo=notes)


def _broken_files() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """What is no photo, or no whole one."""
    yield "empty", "empty.jpg", lambda: b"", False
    yield "one-byte", "one.jpg", lambda: b"\xff", False
    yield "zeros", "zeros.jpg", lambda: bytes(2**19), False
    yield "noise", "noise.jpg", lambda: random.Random(0).randbytes(5000), False
    yield "text-as-jpeg", "letter.jpg", lambda: b"Dear reader,\n" * 50, False
    yield "utf-16-text", "letter.png", lambda: "Liebe Leute\n".encode("utf-16") * 50, False
    yield "html", "page.jpg", lambda: b"<!doctype html><script>alert(1)</script>", False
    yield "json", "photo.json", lambda: b'{"photos": []}', False
    yield "base64", "photo.jpg", lambda: b"/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAMCAgMCAgMD", False
    yield "pickle", "photo.pkl", lambda: pickle.dumps({"photo": 1}), False
    yield "npy", "photo.npy", lambda: b"\x93NUMPY\x01\0" + bytes(200), False
    yield "zip", "photos.zip", lambda: zipped("photo.jpg", jpeg()), False
    yield "tar", "photos.tar", tarred, False
    yield "gzip", "photo.jpg.gz", lambda: gzip.compress(jpeg()), False
    yield "elf", "photo.bin", lambda: b"\x7fELF\x02\x01\x01" + bytes(200), False
    yield "windows-program", "photo.exe", lambda: b"MZ" + bytes(500), False
    yield "svg", "drawing.svg", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', False
    svg = b'<!DOCTYPE svg [<!ENTITY a "&b;&b;"><!ENTITY b SYSTEM "file:///etc/passwd">]><svg>&a;'
    yield "svg-entities", "drawing.svg", lambda: svg, False
    yield "pdf", "scan.pdf", lambda: b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n", False
    yield "eps", "drawing.eps", lambda: EPS, False
    yield "eps-as-jpeg", "photo.jpg", lambda: EPS, False
    yield "mp4", "film.mp4", lambda: b"\0\0\0\x20ftypisom" + bytes(500), False
    yield "mpeg", "film.mpg", lambda: b"\0\0\x01\xb3\x16\0\xf0\x15" + bytes(100), False
    yield "heic-without-content", "phone.heic", lambda: heif(b"heic"), False
    yield "avif-without-content", "phone.avif", lambda: heif(b"avif"), False
    for share in (0.05, 0.5, 0.95):
        for format in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "ICO"):
            kind = f"{format.lower()}-cut-at-{share * 100:.0f}-percent"
            yield kind, f"cut.{format.lower()}", _cut(format, share), None if share > 0.9 else False
    yield "jpeg-header-only", "cut.jpg", lambda: b"\xff\xd8\xff\xe0", False
    yield "jpeg-without-its-end", "cut.jpg", lambda: jpeg()[:-2], None
    yield "jpeg-flipped-bytes", "broken.jpg", lambda: flipped(jpeg(256), 0.01), None
    yield "png-flipped-bytes", "broken.png", lambda: flipped(saved(photo(), "PNG"), 0.05), False
    yield "gif-flipped-bytes", "broken.gif", lambda: flipped(saved(photo(), "GIF"), 0.05), None
    yield "webp-flipped-bytes", "broken.webp", lambda: flipped(saved(photo(), "WEBP"), 0.05), None
    yield "tiff-flipped-bytes", "broken.tif", lambda: flipped(saved(photo(), "TIFF"), 0.05), None
    yield "png-bad-checksum", "broken.png", bad_crc, False
    yield "png-no-pixels", "broken.png", lambda: png(9, 9, b""), False
    yield "png-too-few-pixels", "broken.png", lambda: png(99, 99, zlib.compress(bytes(9))), False
    yield "png-unknown-colours", "broken.png", lambda: png(9, 9, b"", bits=7, colour=5), False
    yield "jpeg-no-tables", "broken.jpg", lambda: jpeg().replace(b"\xff\xdb", b"\xff\xfe"), False
    yield "tiff-no-directory", "broken.tif", lambda: b"II*\0\xff\xff\xff\x7f", False
    yield "tiff-many-strips", "broken.tif", lambda: tiff_of(9, 9, count=2**31), False
    yield "webp-wrong-length", "broken.webp", _webp_of_wrong_length, None
    yield "ppm-endless-header", "broken.ppm", lambda: b"P6" + b" " * 100_000, False
    yield "ppm-negative-size", "broken.ppm", lambda: b"P6 -9 -9 255\n" + bytes(243), False
    yield "xpm-of-letters", "broken.xpm", lambda: b'/* XPM */\n"9 9 99999 9"\n', False


def _cut(format: str, share: float) -> Callable[[], bytes]:
    return lambda: cut(saved(photo(), format), share)


def _webp_of_wrong_length() -> bytes:
    content = saved(photo(), "WEBP")
    return content[:4] + struct.pack("<I", 2**31) + content[8:]


def _bombs() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """What is small and becomes large, or says that it is."""
    yield "png-bomb", "bomb.png", png_bomb, False
    yield "png-text-bomb", "bomb.png", text_bomb, None
    yield "png-profile-bomb", "bomb.png", profile_bomb, None
    yield "png-giant-size", "giant.png", lambda: png(2**31 - 1, 2**31 - 1, b""), False
    yield "jpeg-giant-size", "giant.jpg", lambda: jpeg_of_size(65_500, 65_500), False
    yield "gif-giant-size", "giant.gif", lambda: gif_of_size(65_535, 65_535), False
    yield "bmp-giant-size", "giant.bmp", lambda: bmp_of_size(2**30, 2**30), False
    yield "tiff-giant-size", "giant.tif", lambda: tiff_of(2**31, 2**31), False
    yield "tiff-bomb", "bomb.tif", tiff_bomb, False
    yield "ppm-giant-size", "giant.ppm", lambda: b"P6 999999 999999 255\n", False
    yield "jpeg-many-scans", "scans.jpg", lambda: scans(80), True
    yield "jpeg-scan-bomb", "bomb.jpg", scan_bomb, False
    yield "gif-many-frames", "frames.gif", many_frames, True
    yield "tiff-loop", "loop.tif", lambda: tiff_of(9, 9, after=8), None
    yield "exif-loop", "loop.jpg", exif_loop, True


def _nested() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """Formats that have another decoder open what they hold, whose size and kind they hide."""
    yield "iptc-of-eps", "photo.jpg", lambda: iptc(EPS), False
    yield "iptc-of-png-bomb", "photo.jpg", lambda: iptc(large_png()), False
    yield "iptc-of-scan-bomb", "photo.jpg", lambda: iptc(scan_bomb()), False
    yield "iptc-of-jpeg", "photo.iim", lambda: iptc(jpeg()), False
    yield "iptc-of-iptc", "photo.iim", lambda: iptc(iptc(jpeg())), False
    yield "blp-of-jpeg", "photo.blp", lambda: blp(large_jpeg()), False
    yield "ico-of-png-bomb", "photo.ico", lambda: icon(large_png()), False
    yield "icns-of-png-bomb", "photo.icns", lambda: apple_icon(large_png()), False


WRAPPERS = {"iptc": iptc, "blp": blp, "ico": icon, "icns": apple_icon}


def _wrapped() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """Sound photos in formats that hold others."""
    for wrapper, wrap in WRAPPERS.items():
        for format in ("PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000"):
            yield (
                f"{wrapper}-of-{format.lower()}",
                f"photo.{wrapper}",
                lambda wrap=wrap, format=format: wrap(saved(photo(), format)),
                False,
            )

    for wrapper, wrap in WRAPPERS.items():
        kind = f"{wrapper}-in-itself-twice"
        yield kind, "photo.png", lambda wrap=wrap: wrap(wrap(wrap(jpeg()))), False


def _profiles() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """Colour profiles that are none, and that are odd: what is red there is green."""
    known = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    odd = known.replace(b"rXYZ", b"none").replace(b"gXYZ", b"rXYZ").replace(b"none", b"gXYZ")
    for kind, content in (("noise", random.Random(0).randbytes(3000)), ("of-odd-colours", odd)):
        for format in ("TIFF", "WEBP", "AVIF", "HEIF"):
            yield (
                f"{format.lower()}-profile-{kind}",
                f"photo.{format.lower()}",
                lambda format=format, content=content: rare(format, icc_profile=content),
                True,
            )


def _broken_in_rare_formats() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """Cut, and with bytes that are others."""
    for format in ("TGA", "PCX", "SGI", "PPM", "AVIF", "HEIF", "XBM"):
        suffix = format.lower()
        for share in (0.05, 0.5, 0.95):
            yield (
                f"{suffix}-cut-at-{share * 100:.0f}-percent",
                f"cut.{suffix}",
                lambda format=format, share=share: cut(rare(format), share),
                None,
            )
        for share in (0.001, 0.01, 0.1):
            yield (
                f"{suffix}-with-{share * 100:g}-percent-flipped",
                f"broken.{suffix}",
                lambda format=format, share=share: flipped(rare(format), share),
                None,
            )


def rare(format: str, **options: object) -> bytes:
    register_heif()
    return saved(photo(mode="1" if format == "XBM" else "RGB"), format, **options)


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def _impossible() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """Headers whose parts do not go together, and codes that nothing stands for."""
    possible = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for colour in range(8):
        for bits in (1, 2, 4, 8, 16):
            if bits not in possible.get(colour, ()):
                kind, rows = f"png-of-colour-{colour}-with-{bits}-bits", deflated_zeros(9 * 80)
                yield (
                    kind,
                    "photo.png",
                    lambda rows=rows, bits=bits, colour=colour: png(
                        9, 9, rows, bits=bits, colour=colour
                    ),
                    False,
                )
    for code in (2, 3, 4, 5, 6, 7, 8, 9, 32773, 34676, 34712, 34925, 50000, 50001, 65535):
        yield (
            f"tiff-of-compression-{code}",
            "photo.tif",
            lambda code=code: tiff_of(9, 9, compression=code),
            None,
        )


def _sizes() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """Photos of sizes that nobody thinks of."""
    yield "one-pixel", "dot.png", lambda: saved(Image.new("RGB", (1, 1)), "PNG"), True
    yield "narrow", "narrow.png", lambda: saved(Image.new("RGB", (1, 60_000)), "PNG"), True
    yield "low", "low.jpg", lambda: saved(Image.new("RGB", (60_000, 1)), "JPEG"), True
    yield "png-no-width", "flat.png", lambda: png(0, 9, zlib.compress(bytes(9))), False
    yield "bmp-no-height", "flat.bmp", lambda: bmp_of_size(9, 0), False
    yield "gif-no-size", "flat.gif", lambda: gif_of_size(0, 0), None
    yield "jpeg-no-width", "flat.jpg", lambda: jpeg_of_size(0, 9), False
    yield "ppm-no-size", "flat.ppm", lambda: b"P6 0 0 255\n", False
    yield "bmp-upside-down", "turned.bmp", lambda: bmp_of_size(SIDE, -SIDE), True


def _colours() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """Photos in other colours than red, green and blue of eight bits."""
    deep = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 20
    yield "jpeg-cmyk", "print.jpg", lambda: saved(photo(mode="CMYK"), "JPEG"), True
    yield "tiff-cmyk", "print.tif", lambda: saved(photo(mode="CMYK"), "TIFF"), True
    yield "tiff-lab", "lab.tif", lambda: saved(photo(mode="LAB"), "TIFF"), None
    yield "png-16-bit", "deep.png", lambda: saved(Image.fromarray(deep), "PNG"), True
    yield "tiff-16-bit", "deep.tif", lambda: saved(Image.fromarray(deep), "TIFF"), True
    yield "png-1-bit", "fax.png", lambda: saved(photo(mode="1"), "PNG"), True
    yield "jpeg-grey", "grey.jpg", lambda: saved(photo(mode="L"), "JPEG"), True
    yield "png-grey-transparent", "grey.png", lambda: saved(photo(mode="LA"), "PNG"), True
    yield "png-transparent", "glass.png", lambda: saved(photo(mode="RGBA"), "PNG"), True
    yield "png-palette", "few.png", lambda: saved(photo(mode="P"), "PNG"), True
    clear = {"transparency": bytes(range(256))}
    yield "png-palette-transparent", "few.png", lambda: saved(photo(mode="P"), "PNG", **clear), True
    yield "png-palette-short", "few.png", _short_palette, None
    yield "gif-transparent", "few.gif", lambda: saved(photo(mode="P"), "GIF", transparency=3), True
    yield "tiff-float-nan", "nan.tif", lambda: float_tiff(np.nan), False
    yield "tiff-float-infinite", "infinite.tif", lambda: float_tiff(np.inf), False
    yield "tiff-float-huge", "huge.tif", lambda: float_tiff(3e38), True
    whole = np.full((SIDE, SIDE), -(2**31), np.int32)
    yield "tiff-int-negative", "negative.tif", lambda: saved(Image.fromarray(whole), "TIFF"), True


def _short_palette() -> bytes:
    """Pixels of the colours 0 and 255, where the palette has one."""
    palette = png_chunk(b"PLTE", b"\xff\0\0")
    rows = zlib.compress(b"\0" + b"\0\xff" * 4)
    return png(8, 1, rows, palette, bits=8, colour=3)


def _formats() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """Photos that are several, in rare formats, or something else as well."""
    yield "gif-animated", "film.gif", lambda: animated("GIF"), True
    yield "png-animated", "film.png", lambda: animated("PNG"), True
    yield "webp-animated", "film.webp", lambda: animated("WEBP"), True
    yield "tiff-pages", "fax.tif", lambda: animated("TIFF"), True
    yield "mpo", "both-eyes.mpo", lambda: animated("MPO", 2), True
    yield "jpeg-progressive", "photo.jpg", lambda: jpeg(progressive=True), True
    for format in ("TGA", "PCX", "SGI", "JPEG2000", "PPM"):
        yield format.lower(), f"photo.{format.lower()}", _of(format), True
    for format in ("ICO", "DDS", "QOI"):  # which no photos come in
        yield format.lower(), f"photo.{format.lower()}", _of(format), False
    yield "xbm", "fax.xbm", lambda: saved(photo(mode="1"), "XBM"), True
    yield "wrong-suffix", "photo.png", jpeg, True
    yield "no-suffix", "photo", jpeg, True
    yield "suffix-of-a-program", "photo.exe", jpeg, True
    yield "jpeg-then-zip", "both.jpg", lambda: jpeg() + zipped("a", b"a"), True
    yield "jpeg-then-noise", "more.jpg", lambda: jpeg() + random.Random(0).randbytes(9999), True
    script = jpeg_segment(0xFE, b"*/=1;alert(1)//<script>alert(1)</script>")
    yield "jpeg-with-script", "both.jpg", lambda: inserted(jpeg(), 2, script), True
    yield "pdf-then-jpeg", "both.jpg", lambda: b"%PDF-1.4\n" + jpeg(), False
    yield "newline-then-jpeg", "late.jpg", lambda: b"\n" + jpeg(), False
    yield "gif-with-script", "both.gif", lambda: saved(photo(), "GIF", comment=b"*/=alert(1)"), True


def _of(format: str) -> Callable[[], bytes]:
    return lambda: saved(photo(), format)


def _notes() -> Iterator[tuple[str, str, Callable[[], bytes], bool | None]]:
    """Photos with broken notes: EXIF data, colour profiles, comments."""
    for value in (0, 6, 9, 65_535):
        yield (
            f"exif-orientation-{value}",
            "turned.jpg",
            lambda value=value: orientation(value),
            True,
        )
    yield "exif-noise", "notes.jpg", lambda: with_exif(random.Random(0).randbytes(200)), True
    yield "exif-cut", "notes.jpg", lambda: with_exif(tiff([(0x0112, 3, 1, 6)])[:-8]), True
    huge = [(0x010E, 2, 2**31, 2**31)]
    yield "exif-huge-text", "notes.jpg", lambda: with_exif(tiff(huge)), True
    text = [(0x0112, 2, 4, 0x00363636)]
    yield "exif-orientation-is-text", "notes.jpg", lambda: with_exif(tiff(text)), True
    yield "jpeg-profile-noise", "profile.jpg", lambda: jpeg(icc_profile=b"\xff" * 5000), True
    bad = {"icc_profile": random.Random(0).randbytes(3000)}
    yield "png-profile-noise", "profile.png", lambda: saved(photo(), "PNG", **bad), True
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    yield "jpeg-profile-of-lab", "profile.jpg", lambda: jpeg(icc_profile=profile), True
    yield "png-long-comment", "notes.png", text_chunk_png, True
    many = jpeg_segment(0xFE, b"x" * 60_000) * 10
    yield "jpeg-long-comments", "notes.jpg", lambda: inserted(jpeg(), 2, many), True
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><!ENTITY a '&a;'>" + b"<a>" * 1000
    yield "jpeg-broken-xmp", "notes.jpg", lambda: inserted(jpeg(), 2, jpeg_segment(0xE1, xmp)), True


NESTED = [File(*each) for each in _nested()]
FILES = NESTED + [
    File(*each)
    for group in (
        *(_broken_files, _bombs, _wrapped, _broken_in_rare_formats, _impossible),
        *(_sizes, _colours, _formats, _notes, _profiles),
    )
    for each in group()
]


@dataclass(frozen=True)
class Upload:
    """A request to ``POST /predict`` that no client of ours would send.

    Attributes:
        kind: what is odd about it; one word with hyphens.
        body: as it is sent.
        statuses: of the answers that are right.
        headers: besides Host and Content-Length.
    """

    kind: str
    body: bytes
    statuses: tuple[int, ...]
    headers: dict[str, str] = field(default_factory=dict)


BOUNDARY = "boundary"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(
    name: str, content: bytes | str, filename: str | bytes | None = None, more: str = ""
) -> bytes:
    """A part of a form as browsers write it, up to the next boundary."""
    content = content.encode() if isinstance(content, str) else content
    header = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
    if filename is not None:
        raw = filename.encode() if isinstance(filename, str) else filename
        header += b'; filename="' + raw + b'"'
    return header + f"\r\n{more}\r\n".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


NAMES = {
    "empty-name": "",
    "path": "../../../etc/passwd",
    "absolute-path": "/etc/passwd",
    "windows-path": "C:\\\\Windows\\\\win.ini",
    "null-in-name": "photo.jpg\0.exe",
    "line-break-in-name": "photo\rjpg",
    "right-to-left-name": "\u202egpj.exe",
    "emoji-name": "👩‍👩‍👧🏽‍🚀.jpg",
    "long-name": "a" * 3000 + ".jpg",
    "very-long-name": "a" * 10_000 + ".jpg",
    "markup-name": "<img src=x onerror=alert(1)>.jpg",
    "command-name": "; rm -rf $HOME; `id`.jpg",
    "percent-name": "%2e%2e%2f%00.jpg",
    "format-name": "%s%n{0}{{}}.jpg",
    "dots-name": "..",
    "device-name": "CON",
}


def _named_uploads() -> Iterator[Upload]:
    """A good photo under a bad name."""
    for kind, name in NAMES.items():
        yield Upload(kind, form(part("photos", jpeg(), name)), (200, 400), FORM)
    yield Upload("name-not-utf-8", form(part("photos", jpeg(), b"\xff\xfe.jpg")), (200,), FORM)
    yield Upload("no-name", form(part("photos", jpeg())), (200,), FORM)
    twice = form(part("photos", jpeg(), "a.jpg") * 2)
    yield Upload("same-name-twice", twice, (200,), FORM)


def _captioned_uploads() -> Iterator[Upload]:
    """A good photo with a strange caption."""
    captions = {
        "empty-caption": ("", 200),
        "blank-caption": (" \t\r\n ", 200),
        "null-caption": ("a\0b", 200),
        "right-to-left-caption": ("\u202eabc שלום", 200),
        "emoji-caption": ("👩‍👩‍👧🏽‍🚀" * 50, 200),
        "combining-caption": ("e" + "\u0301" * 500, 200),
        "one-long-word": ("x" * 2000, 200),
        "many-words": ("x " * 1000, 200),
        "special-tokens": ("[CLS] [SEP] [PAD] [MASK] </s> <|endoftext|>", 200),
        "long-caption": ("x" * 3000, 413),
        "very-long-caption": ("x" * 2_000_000, 413),
        "latin-1-caption": (b"caf\xe9", 422),
        "binary-caption": (bytes(range(256)), 422),
        "surrogate-caption": (b"\xed\xa0\x80", 422),
    }
    for kind, (caption, status) in captions.items():
        body = form(part("photos", jpeg(), "a.jpg"), part("captions", caption))
        yield Upload(kind, body, (status,), FORM)
    one, two = part("photos", jpeg(), "a.jpg"), part("captions", "a") * 2
    yield Upload("more-captions-than-photos", form(one, two), (422,), FORM)
    yield Upload("captions-first", form(part("captions", "a"), one), (200,), FORM)
    yield Upload(
        "caption-with-a-file-name", form(one, part("captions", "a", "a.txt")), (200,), FORM
    )
    yield Upload("captions-alone", form(part("captions", "a")), (422,), FORM)
    thresholds = {"nan": 422, "inf": 422, "-1": 422, "2": 422, "1e999": 422, "": 422, "half": 422}
    for threshold, status in (thresholds | {"0": 200, "1": 200, "-0": 200, " 0.5 ": 200}).items():
        body = form(one, part("threshold", threshold))
        yield Upload(f"threshold-{threshold.strip() or 'empty'}", body, (status,), FORM)
    yield Upload("threshold-twice", form(one, part("threshold", "0.5") * 2), (422,), FORM)
    yield Upload("threshold-long", form(one, part("threshold", "0" * 5000)), (413,), FORM)


def _broken_forms() -> Iterator[Upload]:
    """Forms that are none, or not whole."""
    good = part("photos", jpeg(), "a.jpg")
    yield Upload("no-body", b"", (400,), FORM)
    yield Upload("no-body-no-type", b"", (415,))
    yield Upload("empty-form", form(), (400, 422), FORM)
    yield Upload("no-photo", form(part("threshold", "0.5")), (422,), FORM)
    yield Upload("unknown-field", form(good, part("model", "../other")), (422,), FORM)
    yield Upload("field-in-brackets", form(part("photos[]", jpeg(), "a.jpg")), (422,), FORM)
    yield Upload("field-of-python", form(part("__class__", "x")), (422,), FORM)
    yield Upload(
        "field-without-name", form(good.replace(b'name="photos"; ', b"")), (400, 422), FORM
    )
    yield Upload(
        "part-without-headers", f"--{BOUNDARY}\r\n\r\n".encode() + form(), (400, 422), FORM
    )
    yield Upload("cut-in-the-photo", good[:500], (400,), FORM)
    yield Upload("cut-in-a-header", good[:30], (400,), FORM)
    yield Upload("no-last-boundary", good, (400,), FORM)
    yield Upload("half-a-last-boundary", form(good)[:-4], (400,), FORM)
    yield Upload("other-boundary", form(good).replace(b"boundary", b"somewhere"), (400,), FORM)
    yield Upload("no-boundary", form(good), (400,), {"Content-Type": "multipart/form-data"})
    empty = {"Content-Type": 'multipart/form-data; boundary=""'}
    yield Upload("empty-boundary", form(good), (400,), empty)
    long = {"Content-Type": f"multipart/form-data; boundary={'b' * 5000}"}
    yield Upload("long-boundary", form(good), (400,), long)
    strange = {"Content-Type": 'multipart/form-data; boundary=boundary; charset=utf-7; q="\\'}
    yield Upload("strange-type-options", form(good), (200, 400), strange)
    yield Upload("text-around-the-form", b"Hello\r\n" + form(good) + b"Bye", (200, 400), FORM)
    yield Upload("bare-line-feeds", form(good).replace(b"\r\n", b"\n"), (400, 422), FORM)
    headers = "".join(f"X-{number}: a\r\n" for number in range(5000))
    yield Upload("flood-of-part-headers", form(part("photos", jpeg(), "a", headers)), (400,), FORM)
    header = f"X-Long: {'a' * 100_000}\r\n"
    yield Upload("long-part-header", form(part("photos", jpeg(), "a", header)), (400,), FORM)
    coded = "Content-Transfer-Encoding: base64\r\n"
    body = form(part("photos", b"/9j/4AAQSkZJRgAB", "a.jpg", coded))
    yield Upload("base64-part", body, (422,), FORM)
    inner = b"--inner\r\n\r\n" + jpeg() + b"\r\n--inner--"
    nested = part("photos", inner, "a", "Content-Type: multipart/mixed; boundary=inner\r\n")
    yield Upload("nested-form", form(nested), (422,), FORM)
    yield Upload("form-in-a-photo", form(part("photos", b"-" * 5000, "a.jpg")), (422,), FORM)
    yield Upload("dashes", b"-" * 2**20, (400,), FORM)
    yield Upload("line-breaks", b"\r\n" * 2**19, (400,), FORM)
    yield Upload("photo-is-empty", form(part("photos", b"", "a.jpg")), (422,), FORM)
    yield Upload("photo-is-text", form(part("photos", "hello")), (422,), FORM)


def _other_types() -> Iterator[Upload]:
    """What is sent as something else, and what is too much."""
    good = form(part("photos", jpeg(), "a.jpg"))
    types = {
        "json-body": ("application/json", b'{"photos": ["a.jpg"]}'),
        "photo-as-body": ("image/jpeg", jpeg()),
        "form-as-text": ("text/plain", good),
        "form-urlencoded": ("application/x-www-form-urlencoded", b"photos=a.jpg"),
        "form-mixed": (f"multipart/mixed; boundary={BOUNDARY}", good),
        "type-of-nothing": (";;;", good),
        "long-type": ("multipart/form-data" + "x" * 5000, good),
        "xml-body": (
            "application/xml",
            b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///dev/zero'>]><a/>",
        ),
    }
    for kind, (content_type, body) in types.items():
        yield Upload(kind, body, (415,), {"Content-Type": content_type})
    bomb = gzip.compress(bytes(2**24))
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        kind = f"coded-{coding.replace(', ', '-')}"
        yield Upload(kind, bomb, (415,), FORM | {"Content-Encoding": coding})
    yield Upload("many-photos", form(part("photos", jpeg(8), "a.jpg") * 1000), (413,), FORM)
    yield Upload("many-captions", form(part("captions", "a") * 1000), (413,), FORM)
    yield Upload("photo-too-large", form(part("photos", bytes(3 * 2**19), "a.jpg")), (413,), FORM)
    large = part("photos", bytes(900_000), "a.jpg")
    yield Upload("request-too-large", form(large * 6), (413,), FORM)
    yield Upload("foreign-origin", good, (403,), FORM | {"Origin": "https://example.org"})
    yield Upload("null-origin", good, (403,), FORM | {"Origin": "null"})
    yield Upload("strange-origin", good, (403,), FORM | {"Origin": "http://[::1"})
    yield Upload("foreign-host", good, (421,), FORM | {"Host": "example.org"})
    yield Upload("strange-host", good, (421,), FORM | {"Host": "[::1:8000"})
    yield Upload("byte-range", good, (200,), FORM | {"Range": "bytes=0-1"})
    yield Upload("expects-nothing", good, (200,), FORM | {"Accept": "image/x-none"})
    yield Upload("method-override", good, (200,), FORM | {"X-HTTP-Method-Override": "DELETE"})
    yield Upload("forwarded", good, (200,), FORM | {"X-Forwarded-Host": "example.org"})


UPLOADS = [
    upload
    for group in (_named_uploads, _captioned_uploads, _broken_forms, _other_types)
    for upload in group()
]


def _head(*headers: str) -> bytes:
    lines = ["POST /predict HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode()


_FORM_TYPE = f"Content-Type: {FORM['Content-Type']}"
_LENGTH = f"Content-Length: {2**40}"

# What is written to the port, and what the answer has to begin with (empty: the connection may as
# well be closed without one).
RAW: dict[str, tuple[bytes, bytes]] = {
    "no-http": (
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",
        b"HTTP/1.1 400",
    ),
    "no-method": (b"/predict\r\n\r\n", b"HTTP/1.1 400"),
    "no-host": (b"GET /health HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
    "two-hosts": (_head("Host: example.org"), b"HTTP/1.1 400"),
    "old-http": (b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200"),
    "future-http": (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 "),
    "null-in-header": (_head("X: a\0b"), b"HTTP/1.1 400"),
    "header-without-colon": (_head("nonsense"), b"HTTP/1.1 400"),
    "flood-of-headers": (_head(*[f"X-{number}: a" for number in range(20_000)]), b"HTTP/1.1 4"),
    "endless-header": (b"GET / HTTP/1.1\r\nX: " + b"a" * 10**6, b"HTTP/1.1 4"),
    "endless-address": (b"GET /" + b"a" * 10**6 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 4"),
    "strange-length": (_head(_FORM_TYPE, "Content-Length: -1"), b"HTTP/1.1 400"),
    "two-lengths": (_head(_FORM_TYPE, "Content-Length: 1", "Content-Length: 2"), b"HTTP/1.1 400"),
    "huge-length": (_head(_FORM_TYPE, _LENGTH), b"HTTP/1.1 413"),
    "endless-length": (_head(_FORM_TYPE, f"Content-Length: {'9' * 30}"), b"HTTP/1.1 4"),
    "strange-chunks": (
        _head(_FORM_TYPE, "Transfer-Encoding: chunked") + b"zz\r\nabc\r\n",
        b"HTTP/1.1 400",
    ),
    "strange-coding": (_head(_FORM_TYPE, "Transfer-Encoding: gzip"), b"HTTP/1.1 "),
    "path-out-of-the-page": (
        b"GET /page/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"HTTP/1.1 404",
    ),
    "coded-path-out-of-the-page": (
        b"GET /page/%2e%2e/%2e%2e/app.py HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"HTTP/1.1 404",
    ),
    "null-in-address": (b"GET /page/a%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 404"),
    "upgrade": (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200",
    ),
    "trace": (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 405"),
    "connect": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 4"),
}
