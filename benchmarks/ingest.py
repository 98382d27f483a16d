"""ingest beside Pillow alone, and beside itself when little or nothing is new.

The stage is run as DVC runs it, start-up and all, in a temporary folder, on the photos of coco18
or else on made-up ones. Pillow alone opens, decodes and resizes the same files in a process on each
core, which has started before, and keeps nothing.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pool
from pathlib import Path

from PIL import Image
from ruamel.yaml import YAML

from benchmarks import samples
from benchmarks.table import Options, Row, in_turn, main
from stages.cores import cores
from stages.ingest import decoder

ROOT = Path(__file__).parents[1]
SIZE = 224  # pixels
SETTLED = 3  # seconds; ingest reads a file that changed a moment ago again


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        folder = Path(name)
        photos = samples.photos(folder / "raw" / "data", options.photos, options.shared)
        known = photos[: len(photos) - max(len(photos) // 100, 1)]
        write_params(folder)
        time.sleep(SETTLED)
        rate(decode, known)  # once before, so that the files are in memory for all sides

        pillow = "Pillow's decode and resize on all cores"
        figures = in_turn(
            options.repeats,
            lambda: len(known) / ingest(folder, known, afresh=True),
            lambda: rate(decode, known),
        )
        yield Row(f"ingest of {len(known):,} photos", pillow, "photos/s", *figures, "≥ 0.85")
        # What it does to a photo besides; the rest is its start and writing what it read.
        figures = in_turn(
            options.repeats, lambda: rate(decode_and_hash, known), lambda: rate(decode, known)
        )
        yield Row("… its decoding and two hashes alone", pillow, "photos/s", *figures)

        seconds: dict[str, list[float]] = {"first": [], "nothing": [], "some": [], "start": []}
        for _ in range(options.repeats):
            seconds["first"].append(ingest(folder, known, afresh=True))
            seconds["nothing"].append(ingest(folder, known))
            seconds["some"].append(ingest(folder, photos))
            seconds["start"].append(run(folder, "-c", "import stages.ingest.__main__"))
        new = len(photos) - len(known)
        for what, key, goal in (
            ("ingest again, nothing new", "nothing", ""),
            (f"ingest again, {new:,} photos new (1 %)", "some", "≤ 0.05"),
            ("… Python's start and imports alone", "start", ""),
        ):
            beside = f"the first ingest, of {len(known):,}"
            yield Row(what, beside, "s", seconds[key], seconds["first"], goal)


def write_params(folder: Path) -> None:
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["ingest"] |= {"source": "kaggle-csv", "root": "raw", "image_size": SIZE}
    params["ingest"]["kaggle-csv"] = {"train": "train.csv", "test": None, "photos": "data"}
    params["ingest"]["corrections"] = "corrections"
    (folder / "corrections").mkdir()
    YAML(typ="safe").dump(params, folder / "params.yaml")


def ingest(folder: Path, photos: list[Path], *, afresh: bool = False) -> float:
    """Seconds of the stage, without the outputs of the last time, as DVC runs it.

    ``afresh``: without what it kept of the last time either.
    """
    lines = ["ImageID,Labels", *(f"{photo.name},1" for photo in photos)]
    (folder / "raw" / "train.csv").write_text("\n".join(lines), "utf-8")
    shutil.rmtree(folder / "data", ignore_errors=True)
    if afresh:
        shutil.rmtree(folder / "cache", ignore_errors=True)
    return run(folder, "-m", "stages.ingest")


def run(folder: Path, *arguments: str) -> float:
    """Seconds of a process of Python."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TAGLOOM_CACHE": str(folder / "cache")}
    # Or each start would compile our modules again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=True
    )
    return time.perf_counter() - start


def rate(function: Callable[[Path], None], photos: list[Path]) -> float:
    """Photos per second of ``function`` on all cores."""
    with Pool(cores()) as pool:
        pool.map(function, photos[:64])  # started, imported
        start = time.perf_counter()
        for _ in pool.imap_unordered(function, photos, chunksize=32):
            pass
        return len(photos) / (time.perf_counter() - start)


def decode(photo: Path) -> None:
    with Image.open(photo) as image:
        image.draft(None, (2 * SIZE, 2 * SIZE))  # as ingest does: large ones at a fraction
        image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def decode_and_hash(photo: Path) -> None:
    content = photo.read_bytes()
    hashlib.sha256(content).hexdigest()
    decoder.decode(content, SIZE)


if __name__ == "__main__":
    main(rows, __file__)
