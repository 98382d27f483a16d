"""Which files are photos, by their names: what Pillow reads, and HEIC, which takes a plug-in of it.

The one list of formats, for the stage ingest and for ``tagloom`` alike.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from PIL import Image

HEIF = (".heic", ".heif", ".hif")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of all formats of photos, with their dots, in lower case.

    Those of HEIC are among them whether or not it can be read here, so that such photos are not
    passed over in silence.
    """
    known = Image.registered_extensions().items()
    images = {s for s, name in known if name in Image.OPEN and _is_image(name)}
    return frozenset(images | set(HEIF))


def _is_image(name: str) -> bool:
    """Whether a format that Pillow knows is of images; PostScript, films and HDF5 are not."""
    return Image.MIME.get(name, "").startswith("image/")


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
