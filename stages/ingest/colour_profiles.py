"""Colours as a photo's profile (ICC) says they are meant, in sRGB, which networks have learnt from.

Phones take photos in Display P3, cameras in Adobe RGB: taken for sRGB, their reds and greens are
pale. Profiles of grey and of CMYK photos are not heeded.
"""

import io
from functools import lru_cache
from itertools import chain, product

from PIL import Image, ImageCms

LONGEST = 2**20  # bytes of a profile; those of cameras and phones have some hundreds
SHADES = 2  # of 255, up to which a profile is as good as sRGB, like the many that are called so


def to_srgb(parts: list[Image.Image], profile: object) -> None:
    """Changes RGB images in place, from the colours of ``profile`` to sRGB's.

    Args:
        profile: the file's, whatever it holds; one that cannot be read changes nothing.
    """
    if isinstance(profile, bytes) and len(profile) <= LONGEST and (found := _transform(profile)):
        for part in parts:
            ImageCms.applyTransform(part, found, inPlace=True)


@lru_cache(maxsize=16)  # one to a kind of camera
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """What changes RGB of this profile to sRGB; None where it would change next to nothing."""
    try:
        theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(theirs, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):  # broken, or of another kind of colours
        return None
    colours = product((0, 64, 128, 191, 255), repeat=3)
    cube = Image.frombytes("RGB", (25, 5), bytes(chain.from_iterable(colours)))
    changed = cube.copy()
    ImageCms.applyTransform(changed, transform, inPlace=True)
    difference = max(abs(a - b) for a, b in zip(cube.tobytes(), changed.tobytes(), strict=True))
    return transform if difference > SHADES else None
