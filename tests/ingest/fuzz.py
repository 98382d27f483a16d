"""Mutated and nested files of every format, decoded as ``ingest`` does it; what they cost.

    python -m tests.ingest.fuzz --files 100000 2> /dev/null    # where libraries in C complain

None may take more memory than it was given, nor longer than it may. The same numbers make the same
files. Linux, for the kernel tells there how much memory a photo took at its most.
"""

import argparse
import io
import random
import sys
import time
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from stages.image_formats import register_heif
from stages.ingest import decoder
from stages.ingest.budget import MB, Budget
from stages.ingest.confinement import SECONDS, SLACK, reason
from stages.ingest.form import Form
from stages.ingest.images import UnreadablePhoto
from stages.ingest.workers import in_processes
from tests import hostile
from tests.hostile import animated, photo, saved

FORMS = (
    *(Form(32), Form(64, "photo"), Form(32, (0.0, 4095.0), "pad"), Form(16, "type", "crop")),
    Form(32, "photo", "pad"),
)
# Numbers that programs stumble over, as sizes, counts and offsets.
NUMBERS = (
    *(0, 1, 2, 127, 128, 255, 9000, 20_000, 2**15 - 1, 2**15, 2**16 - 1, 2**24),
    *(2**31 - 1, 2**31, 2**32 - 1),
)
TOTAL = 2**31  # bytes of the budget of memory


class Seed(NamedTuple):
    """A file that others are made of."""

    format: str
    content: bytes


def large(format: str, side: int = 1600) -> bytes:
    """Many pixels; of WebP, noise, of which its decoder takes most."""
    register_heif()
    image = photo(side // 16).resize((side, side))
    quick = {"AVIF": {"speed": 10}, "HEIF": {"quality": 1}, "PNG": {"compress_level": 1}}
    if format == "WEBP":
        return saved(photo(side), format, lossless=True, method=0)
    if format == "progressive JPEG":
        return saved(image, "JPEG", progressive=True, subsampling=0)
    return saved(image, format, **quick.get(format, {}))


def seeds() -> list[Seed]:
    """Small photos of every format, in its modes and compressions."""
    register_heif()
    deep = Image.fromarray(np.arange(48 * 48, dtype=np.uint16).reshape(48, 48) * 20)
    real = Image.fromarray(np.linspace(0, 1, 48 * 48, dtype=np.float32).reshape(48, 48))
    made: list[tuple[str, bytes]] = [("MPO", animated("MPO", 2))]
    made += [("JPEG", saved(photo(mode=mode), "JPEG")) for mode in ("RGB", "L", "CMYK")]
    made += [("JPEG", saved(photo(), "JPEG", progressive=True)), ("JPEG", hostile.orientation(6))]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made += [("JPEG", saved(photo(), "JPEG", icc_profile=profile))] * 2
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        made.append(("PNG", saved(photo(mode=mode), "PNG")))
    made += [("PNG", saved(deep, "PNG")), ("PNG", saved(photo(mode="P"), "PNG", transparency=3))]
    made += [("PNG", animated("PNG")), ("GIF", animated("GIF")), ("WEBP", animated("WEBP"))]
    made += [("GIF", saved(photo(mode="P"), "GIF", transparency=3))]
    made += [("WEBP", saved(photo(mode="RGBA"), "WEBP", lossless=yes)) for yes in (True, False)]
    made += [("BMP", saved(photo(mode=mode), "BMP")) for mode in ("1", "P", "RGB", "RGBA")]
    made += [("DIB", saved(photo(), "DIB")), ("TIFF", saved(real, "TIFF"))]
    for mode in ("1", "P", "RGB", "RGBA", "CMYK", "LAB"):
        made.append(("TIFF", saved(photo(mode=mode), "TIFF")))
    for compression in ("lzw", "adobe_deflate", "packbits", "jpeg", "lzma", "zstd", "webp"):
        made.append(("TIFF", saved(photo(), "TIFF", compression=f"tiff_{compression}"[-16:])))
    made += [("TIFF", saved(photo(mode="1"), "TIFF", compression="group4"))]
    made += [("TIFF", saved(deep, "TIFF")), ("PPM", saved(deep, "PPM"))]
    made += [("PPM", saved(photo(mode=mode), "PPM")) for mode in ("1", "L", "RGB")]
    made += [("AVIF", saved(photo(mode=mode), "AVIF")) for mode in ("RGB", "RGBA")]
    made += [("HEIF", saved(photo(mode=mode), "HEIF")) for mode in ("RGB", "RGBA")]
    made += [("JPEG2000", saved(photo(mode=mode), "JPEG2000")) for mode in ("L", "RGB", "RGBA")]
    made += [("JPEG2000", saved(deep, "JPEG2000")), ("XBM", saved(photo(mode="1"), "XBM"))]
    made += [("PCX", saved(photo(mode=mode), "PCX")) for mode in ("1", "L", "P", "RGB")]
    made += [("SGI", saved(photo(mode=mode), "SGI")) for mode in ("L", "RGB", "RGBA")]
    for options in ({}, {"compression": "tga_rle"}):
        made += [("TGA", saved(photo(mode=mode), "TGA", **options)) for mode in ("L", "P", "RGBA")]
    made += [("PSD", psd(compression)) for compression in (0, 1)]
    return [Seed(*each) for each in made]


def psd(compression: int, side: int = 16) -> bytes:
    """A grey Photoshop file, raw (0) or, of 16 × 16, in runs (1); Pillow writes none."""
    head = b"8BPS" + bytes([0, 1]) + bytes(6) + (1).to_bytes(2) + side.to_bytes(4) * 2
    head += (8).to_bytes(2) + (1).to_bytes(2) + bytes(12) + compression.to_bytes(2)
    if compression == 0:
        return head + bytes(side * side)
    return head + (17).to_bytes(2) * 16 + (b"\x0f" + bytes(range(16))) * 16


NESTS: Sequence[Callable[[bytes], bytes]] = (
    *(hostile.iptc, hostile.blp, hostile.icon, hostile.apple_icon),
    lambda content: hostile.iptc(hostile.iptc(content)),
    lambda content: saved(photo(), "JPEG", exif=b"Exif\0\0" + content[:60_000]),
    lambda content: saved(photo(), "PNG", icc_profile=content),
)


def mutated(known: Sequence[Seed], number: int) -> Seed:
    """File ``number``: one of a format, changed in a few places; one in ten in another."""
    choose = random.Random(number)
    format = choose.choice(sorted({seed.format for seed in known}))
    content = choose.choice([seed.content for seed in known if seed.format == format])
    broken = bytearray(content)
    for _ in range(choose.choice((1, 1, 1, 2, 4, 16))):
        choose.choice(MUTATIONS)(broken, choose, known)
    content = bytes(broken)
    if format == "PNG" and choose.random() < 0.8:
        content = with_checksums(content)
    if choose.random() < 0.1:
        return Seed("nested", choose.choice(NESTS)(content))
    return Seed(format, content)


def _flip(content: bytearray, choose: random.Random, _: Sequence[Seed]) -> None:
    if content:
        content[choose.randrange(len(content))] = choose.randrange(256)


def _number(content: bytearray, choose: random.Random, _: Sequence[Seed]) -> None:
    """Another number, of the kind and where sizes and counts stand: near the start, mostly."""
    width, order = choose.choice((1, 2, 4)), choose.choice(("big", "little"))
    end = min(len(content), choose.choice((64, 512, 2**20)))
    at, value = choose.randrange(max(1, end)), choose.choice(NUMBERS) % 256**width
    content[at : at + width] = value.to_bytes(width, order)


def _cut(content: bytearray, choose: random.Random, _: Sequence[Seed]) -> None:
    del content[choose.randrange(len(content) + 1) :]


def _repeat(content: bytearray, choose: random.Random, _: Sequence[Seed]) -> None:
    at = choose.randrange(len(content) + 1)
    piece = content[at : at + choose.choice((4, 64, 1000))]
    content[at:at] = piece * choose.choice((1, 2, 50, 500))
    del content[2**20 :]


def _splice(content: bytearray, choose: random.Random, known: Sequence[Seed]) -> None:
    """The end of another file."""
    other = choose.choice(known).content
    content[choose.randrange(len(content) + 1) :] = other[choose.randrange(len(other)) :]


MUTATIONS = (_flip, _flip, _number, _number, _number, _cut, _repeat, _splice)


def with_checksums(content: bytes) -> bytes:
    """A PNG whose chunks have the right checksums, so that it is not refused for these."""
    stream, made = io.BytesIO(content), io.BytesIO()
    made.write(stream.read(8))
    while len(head := stream.read(8)) == 8:
        body = stream.read(min(int.from_bytes(head[:4]), len(content)))
        stream.read(4)
        made.write(head + body + zlib.crc32(head[4:] + body).to_bytes(4))
    return made.getvalue() + head


class Cost(NamedTuple):
    """What came of a file.

    Attributes:
        outcome: read, refused, or why its process ended.
        seconds: of a core.
        needed: bytes that it was given.
        peak: bytes that it took, at its most.
    """

    outcome: str
    seconds: float = 0.0
    needed: int = 0
    peak: int = 0

    @property
    def is_over(self) -> bool:
        return self.peak > self.needed + SLACK or self.seconds > SECONDS


class Noted(Budget):
    """Notes how much was asked for last."""

    needed = 0

    @contextmanager
    def room(self, needed: int) -> Iterator[None]:
        with super().room(needed):
            self.needed = needed
            yield


def cost(content: bytes, form: Form, budget: Noted) -> Cost:
    """Decodes a file and measures it."""
    budget.needed = 0
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before, started = _memory("VmRSS"), time.process_time()
    try:
        decoder.decode(content, *form, budget=budget)
        outcome = "read"
    except UnreadablePhoto:
        outcome = "refused"
    seconds = time.process_time() - started
    return Cost(outcome, seconds, budget.needed, _memory("VmHWM") - before)


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return 1024 * int(status.partition(f"{name}:")[2].split()[0])


NOTHING = Cost("")


@dataclass
class Tally:
    """The costs of files of a format."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: Cost = NOTHING
    largest: Cost = NOTHING

    def add(self, cost: Cost) -> None:
        self.outcomes[cost.outcome] += 1
        self.slowest = max(self.slowest, cost, key=lambda each: each.seconds)
        self.largest = max(self.largest, cost, key=lambda each: each.peak)

    def __str__(self) -> str:
        read, refused = self.outcomes["read"], self.outcomes["refused"]
        ended = self.outcomes.total() - read - refused
        return (
            f"{self.outcomes.total():>8,} {read:>8,} {refused:>8,} {ended:>6,} "
            f"{self.slowest.seconds:>8.2f} {self.largest.peak / MB:>8,.0f}"
        )


def fuzz(
    numbers: Sequence[int], kept: Path | None = None, most_seconds: float = float("inf")
) -> tuple[dict[str, Tally], list[tuple[int, Cost]]]:
    """Decodes the files of these numbers.

    Args:
        kept: a folder for files that are over, or end their process.
        most_seconds: after which no more files are begun.

    Returns:
        The tallies by format, and the files that are over, by their numbers.
    """
    known, budget = seeds(), Noted(1, TOTAL)

    def measured(number: int) -> tuple[None, Cost]:
        content = mutated(known, number).content
        return None, cost(content, FORMS[number % len(FORMS)], budget)

    costs = in_processes(measured, numbers, (1,), lambda signal: Cost(reason(signal)), budget.most)
    tallies: dict[str, Tally] = defaultdict(Tally)
    over, started = [], time.monotonic()
    for number, (_, each) in zip(numbers, costs, strict=False):
        seed = mutated(known, number)
        tallies[seed.format].add(each)
        if each.is_over:
            over.append((number, each))
        if kept and (each.is_over or each.outcome not in ("read", "refused")):
            (kept / f"{number}.{seed.format.lower()}").write_bytes(seed.content)
        if time.monotonic() - started > most_seconds:
            break
    costs.close()
    budget.close()
    return dict(sorted(tallies.items())), over


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=100_000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then it stops")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="files that are over, or ended")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's, of broken notes
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    numbers = range(options.first, options.first + options.files)
    tallies, over = fuzz(numbers, options.keep, options.seconds)
    print(f"{'files':>19} {'read':>8} {'refused':>8} {'ended':>6} {'slowest':>8} {'most MB':>8}")
    total = Tally()
    for format, tally in tallies.items():
        print(f"{format:10} {tally}")
        total.outcomes += tally.outcomes
        for each in (tally.slowest, tally.largest):
            total.slowest = max(total.slowest, each, key=lambda cost: cost.seconds)
            total.largest = max(total.largest, each, key=lambda cost: cost.peak)
    print(f"{'all':10} {total}")
    for sentence, count in total.outcomes.items():
        if sentence not in ("read", "refused"):
            print(f"{count} × {sentence}")
    for number, cost in over:
        print(f"file {number} is over: {cost}")
    sys.exit(bool(over))


if __name__ == "__main__":
    main()
