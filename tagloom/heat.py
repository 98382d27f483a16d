"""Heat maps to lay over a photo."""

import io

import numpy as np
from PIL import Image
from PIL.Image import Resampling

# From where little speaks for the label to where most does: red, orange, yellow.
COLD, WARM = np.array([200, 30, 60]), np.array([255, 225, 60])
STRONGEST = 0.85  # opacity


def over_photo(
    heat: np.ndarray, seen: tuple[float, float], width: int, height: int, resampling: Resampling
) -> np.ndarray:
    """A heat map at the size of its photo: float32 (height, width), at most about 1.

    Args:
        heat: float32 (side, side), not negative.
        seen: what the map's sides are of the photo's width and height; the two have one middle.
    """
    across, down = seen
    inner = max(1, round(min(1, across) * width)), max(1, round(min(1, down) * height))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    # Of the map, what lies over the photo.
    x, y = ((1 - 1 / max(1, each)) / 2 * len(heat) for each in seen)
    over = (x, y, len(heat) - x, len(heat) - y)
    scaled = Image.fromarray(heat / (float(heat.max()) or 1.0)).resize(inner, resampling, over)
    share = np.zeros((height, width), np.float32)
    share[top : top + inner[1], left : left + inner[0]] = np.asarray(scaled)
    return share


def overlay(heat: np.ndarray, seen: tuple[float, float], size: int) -> bytes:
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
