"""``digits``: photos made on the spot from scikit-learn's 1,797 handwritten digits.

Nothing is downloaded. Each photo shows none to four different digits on paper of its own shade;
small digits are common, large ones rare, and some go together. A few digits have faded away. The
caption names about three quarters of the digits in words and gets some of those wrong. So neither
the photo nor the caption alone tells everything. Handwriting used for ``test`` is never used for
``train``.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from stages.ingest.sources import Row
from stages.params import Positive, Section, Seed

MAKES_PHOTOS = True
SIDE = 48  # pixels of a photo
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
HOW_MANY = [0.08, 0.30, 0.32, 0.20, 0.10]  # rate of photos with 0, 1, … 4 digits
HOW_COMMON = 1 / np.arange(1, 11) ** 0.8  # of 0, 1, … 9
COMPANION = [7, 4, 9, 8, 1, 6, 5, 0, 3, 2]  # the digit that likes to stand beside 0, 1, … 9
COMPANY = 5  # times as likely as by its rate alone
FADED, FAINT = 0.08, 0.05  # rate of digits that have faded, and what is left of their ink
NAMED, WRONG = 0.75, 0.08  # rate of digits in the caption, and of wrong words among those
HELD_OUT = 397  # of the 1,797, the last are for test
NOTHING_NAMED = ["some paper", "a note", "handwriting", "something in pencil"]
PHRASES = ["{}", "{} in pencil", "a note that says {}", "somebody wrote {}", "{} by hand"]


class Options(Section):
    train: Positive
    test: Positive
    seed: Seed


def rows(root: Path, options: Options) -> Iterator[Row]:
    # 8 × 8 cells of 0 (paper) to 16 (ink); imported here, it takes seconds
    from sklearn.datasets import load_digits

    scans = load_digits()
    held_out = len(scans.target) - HELD_OUT
    for subset, count, handwriting in (
        ("train", options.train, slice(None, held_out)),
        ("test", options.test, slice(held_out, None)),
    ):
        cells, digits = scans.images[handwriting], scans.target[handwriting]
        for number in range(count):
            # A stream of its own for each photo: photo 7 stays the same when more are asked for.
            random = np.random.default_rng([options.seed, subset == "test", number])
            shown = _choose(random)
            scan_numbers = [random.choice(np.flatnonzero(digits == digit)) for digit in shown]
            caption = _caption(random, shown)
            draw = partial(_draw, cells[scan_numbers], int(random.integers(2**32)))
            yield Row(
                file="digits",
                row=number + 1,
                id=f"{subset}-{number:05}",
                photo=draw,
                subset=subset,
                labels=[str(digit) for digit in sorted(shown)],
                caption=caption,
            )


def _choose(random: np.random.Generator) -> list[int]:
    shown: list[int] = []
    for _ in range(random.choice(len(HOW_MANY), p=HOW_MANY)):
        weights = HOW_COMMON.copy()
        weights[[COMPANION[digit] for digit in shown]] *= COMPANY
        weights[shown] = 0
        shown.append(int(random.choice(10, p=weights / weights.sum())))
    return shown


def _caption(random: np.random.Generator, shown: list[int]) -> str:
    named = [digit for digit in shown if random.random() < NAMED]
    words = [
        WORDS[random.integers(10)] if random.random() < WRONG else WORDS[digit] for digit in named
    ]
    if not words:
        return str(random.choice(NOTHING_NAMED))
    listed = ", ".join(words[:-1]) + " and " + words[-1] if words[1:] else words[0]
    return str(random.choice(PHRASES)).format(listed)


def _draw(scans: np.ndarray, seed: int) -> bytes:
    """Draws scans, (n, 8, 8) of 0 to 16, into the quarters of a photo; returns a PPM file."""
    random = np.random.default_rng(seed)
    ink = np.zeros((SIDE, SIDE))
    quarter = SIDE // 2
    for scan, place in zip(scans, random.permutation(4), strict=False):
        side = int(random.integers(13, 22))
        digit = Image.fromarray((scan * 15).astype(np.uint8)).resize((side, side))
        corner = quarter * np.array(divmod(place, 2))
        top, left = corner + random.integers(0, quarter - side + 1, 2)
        strength = FAINT if random.random() < FADED else random.uniform(0.6, 1)
        ink[top : top + side, left : left + side] = strength * np.asarray(digit) / 240
    paper, pencil = random.uniform(130, 255, 3), random.uniform(0, 90, 3)
    shade = paper + (pencil - paper) * ink[..., None]
    grain = random.normal(0, 12, shade.shape)
    pixels = (shade + grain).round().clip(0, 255).astype(np.uint8)
    # The simplest format there is, so that no encoder's version changes a byte.
    return f"P6 {SIDE} {SIDE} 255\n".encode() + pixels.tobytes()
