"""Heat maps to lay over a photo."""

import io

import numpy as np
from PIL import Image
from PIL.Image import Resampling

# From where little speaks for the label to where most does: red, orange, yellow.
COLD, WARM = np.array([200, 30, 60]), np.array([255, 225, 60])
STRONGEST = 0.85  # opacity


def over_photo(
    heat: np.ndarray, seen: float, width: int, height: int, resampling: Resampling
) -> np.ndarray:
    """A heat map at the size of its photo: float32 (height, width), at most about 1.

    Args:
        heat: float32 (side, side), not negative.
        seen: the share of the photo's sides that the map covers, in the middle.
    """
    inner = max(1, round(seen * width)), max(1, round(seen * height))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    scaled = Image.fromarray(heat / (float(heat.max()) or 1.0)).resize(inner, resampling)
    share = np.zeros((height, width), np.float32)
    share[top : top + inner[1], left : left + inner[0]] = np.asarray(scaled)
    return share


def overlay(heat: np.ndarray, seen: float, size: int) -> bytes:
    """A PNG of ``size`` × ``size`` pixels that is clear where nothing speaks for the label.

    Args:
        heat, seen: as ``over_photo`` takes them.
    """
    share = over_photo(heat, seen, size, size, Resampling.BICUBIC).clip(0, 1)[:, :, None]
    colour = COLD + share * (WARM - COLD)
    pixels = np.concatenate([colour, 255 * STRONGEST * share], axis=2)
    stream = io.BytesIO()
    Image.fromarray(pixels.round().astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()
