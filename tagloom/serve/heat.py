"""Heat maps to lay over a photo."""

import io

import numpy as np
from PIL import Image

# From where little speaks for the label to where most does: red, orange, yellow.
COLD, WARM = np.array([200, 30, 60]), np.array([255, 225, 60])
STRONGEST = 0.85  # opacity


def overlay(heat: np.ndarray, seen: float, size: int) -> bytes:
    """A PNG of ``size`` × ``size`` pixels that is clear where nothing speaks for the label.

    Args:
        heat: float32 (side, side), not negative.
        seen: the share of the photo's sides that the map covers, in the middle.
    """
    inner = max(1, round(seen * size))
    scaled = Image.fromarray(heat / (float(heat.max()) or 1.0))
    share = np.zeros((size, size, 1), np.float32)
    start = (size - inner) // 2
    enlarged = scaled.resize((inner, inner), Image.Resampling.BICUBIC)
    share[start : start + inner, start : start + inner, 0] = np.asarray(enlarged).clip(0, 1)
    colour = COLD + share * (WARM - COLD)
    pixels = np.concatenate([colour, 255 * STRONGEST * share], axis=2)
    stream = io.BytesIO()
    Image.fromarray(pixels.round().astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()
