"""The formats of photos, by content and by name, for the stage ingest and for ``tagloom`` alike.

They are a list, not whatever Pillow reads: some of its plug-ins start a program on a file
(PostScript) or have another plug-in open what the file holds (IPTC, BLP, icons), of which the file
says neither the kind nor the size. ``open_image`` is the one way to open what others have made.
"""

import io
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from PIL import EpsImagePlugin, Image, ImageFile

# By Pillow's names, in the order they are tried in. TGA has no mark to be known by.
FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "DIB", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000", "PSD", "PCX"),
    *("SGI", "XBM", "TGA"),
)
HEIF = (".heic", ".heif", ".hif")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")

EpsImagePlugin.gs_binary = False  # Ghostscript, for all of this process: whoever opens what


def open_image(content: bytes) -> ImageFile.ImageFile:
    """An image by a file's content; its pixels are not decoded yet.

    Raises:
        PIL.UnidentifiedImageError: it is of no format of the list.
        ImportError: it is HEIC, and the plug-in is missing.
    """
    formats: tuple[str, ...] = FORMATS
    if is_heif(content):
        register_heif()
        formats = (*FORMATS, "HEIF")
    return Image.open(io.BytesIO(content), formats=formats)


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of all formats of photos, with their dots, in lower case.

    Those of HEIC are among them whether or not it can be read here, so that such photos are not
    passed over in silence.
    """
    known = Image.registered_extensions().items()
    return frozenset({suffix for suffix, name in known if name in FORMATS} | set(HEIF))


def is_heif(content: bytes) -> bool:
    """Whether ``content`` starts as HEIC and its like do: the photos of phones."""
    return content[4:8] == b"ftyp" and content[8:12] in HEIF_BRANDS


def heif_version() -> str | None:
    """The version of the plug-in; None where it is missing."""
    try:
        return version("pillow-heif")
    except PackageNotFoundError:
        return None


@cache
def register_heif() -> None:
    """Lets Pillow open HEIC. Not before it is needed: the plug-in takes a while to load.

    Raises:
        ImportError: it is missing.
    """
    from pillow_heif import register_heif_opener

    register_heif_opener()
