"""Photos, label sets and captions to measure on, as many as are asked for.

They are drawn from those of coco18 where the folder of real photos is given, else made up.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from stages.csv_tables import parse

SEED = 7
LABELS = 18
# A person on three photos of four; the rest rare, and most photos with one or two of them.
RATES = np.array([0.75, *0.3 / np.arange(2, LABELS + 1)])
MADE_UP_WORDS = 8000  # distinct ones; coco18's captions have as many


def photos(folder: Path, count: int, shared: Path | None) -> list[Path]:
    """Puts ``count`` JPEGs into ``folder``, all different.

    Raises:
        SystemExit: there are not so many real ones.
    """
    folder.mkdir(parents=True)
    if shared is not None:
        originals = sorted((shared / "coco18" / "data").glob("*.jpg"))[:count]
        if len(originals) < count:
            sys.exit(f"{shared / 'coco18' / 'data'} has {len(originals):,} photos, not {count:,}")
        return [Path(shutil.copyfile(photo, folder / photo.name)) for photo in originals]
    files = [folder / f"{number}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        _photo(number).save(file)
    return files


def _photo(number: int) -> Image.Image:
    """240 × 320 pixels, large shapes and grain, so that its file is as large as photos' are."""
    random = np.random.default_rng(number)
    shapes = Image.fromarray(random.integers(0, 190, (6, 8, 3), np.uint8)).resize((320, 240))
    return Image.fromarray(np.asarray(shapes) + random.integers(0, 64, (240, 320, 3), np.uint8))


def label_sets(rows: int, shared: Path | None) -> np.ndarray:
    """Label sets, bool (rows, 18)."""
    random = np.random.default_rng(SEED)
    if shared is None:
        return random.random((rows, LABELS)) < RATES
    sets = [set(labels.split()) for _, labels, _ in listed(shared)]
    names = sorted(set.union(*sets))
    known = np.array([[name in labels for name in names] for labels in sets])
    return known if rows == len(known) else known[random.integers(len(known), size=rows)]


def captions(rows: int, shared: Path | None) -> pl.Series:
    """Captions, String (rows,): the first half of a real one and the second half of another.

    Real captions are hardly ever alike. If whole ones were repeated, so would their words be
    found: once for all their rows.
    """
    random = np.random.default_rng(SEED)
    if shared is None:
        # As often as words of English are: the k-th in proportion to 1/k (Zipf).
        lengths = random.integers(8, 14, size=rows)
        places = random.zipf(1.3, size=lengths.sum()) % MADE_UP_WORDS
        endings = ("s", "ing", "ed", "", "")
        words = np.array([_word(k) + endings[k % len(endings)] for k in range(MADE_UP_WORDS)])
        parts = np.split(words[places], lengths.cumsum()[:-1])
        return pl.Series("caption", [" ".join(part).capitalize() + "." for part in parts])
    words = [caption.split() for _, _, caption in listed(shared)]
    first = pl.Series([" ".join(known[: len(known) // 2]) for known in words])
    second = pl.Series([" ".join(known[len(known) // 2 :]) for known in words])
    one, other = random.integers(len(words), size=(2, rows))
    return (first.gather(one) + " " + second.gather(other)).alias("caption")


def _word(number: int) -> str:
    """A made-up word that no other number has: syllables for digits."""
    syllables = ("ba", "do", "ki", "lu", "me", "no", "ra", "sti", "ter", "vo")
    return "".join(syllables[int(digit)] for digit in str(number))


def listed(shared: Path) -> list[list[str]]:
    """Id, labels and caption of coco18's labelled photos."""
    _, records = parse((shared / "coco18" / "train.csv").read_text("utf-8"))
    return [fields for _, fields in records]
