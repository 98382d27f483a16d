"""How long ingest takes: the first time, with nothing new, and with 1 % new photos.

``python -m benchmarks.ingest [--photos N] [--image-size PIXELS]`` runs the real stage, start-up
and all, in a temporary folder, on the photos of coco18 in the folder that ``TAGLOOM_SHARED``
names, or else on JPEGs made from scikit-learn's digits. Beside it: Pillow alone, which opens,
decodes and resizes the same files in a process on each core and keeps nothing.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest")
    parser.add_argument("--photos", type=int, default=12_000)
    parser.add_argument("--image-size", type=int, default=224)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        folder = Path(name)
        photos = provide_photos(folder / "raw" / "data", arguments.photos)
        write_params(folder, arguments.image_size)
        known = photos[: len(photos) - max(len(photos) // 100, 1)]

        pillow = len(known) / time_of_pillow(known, arguments.image_size)
        rows = []
        for what, listed in (("first", known), ("nothing new", known), ("1 % new", photos)):
            list_photos(folder, listed)
            seconds, decoded = ingest(folder)
            rows.append((what, len(listed), decoded, seconds))

    first = rows[0][3]
    print(
        f"{'ingest':12} {'photos':>8} {'decoded':>8} {'seconds':>8} {'photos/s':>9} {'÷ first':>8}"
    )
    for what, count, decoded, seconds in rows:
        rate = count / seconds
        print(
            f"{what:12} {count:8,} {decoded:8,} {seconds:8.2f} {rate:9,.0f} {seconds / first:8.3f}"
        )
    print(
        f"Pillow alone {pillow:,.0f} photos/s, {pillow / (len(known) / first):.2f} × first ingest"
    )


def provide_photos(folder: Path, count: int) -> list[Path]:
    """Puts ``count`` JPEGs into ``folder``, or as many as there are."""
    folder.mkdir(parents=True)
    if shared := os.environ.get("TAGLOOM_SHARED"):
        originals = sorted((Path(shared) / "coco18" / "data").glob("*.jpg"))[:count]
        return [Path(shutil.copyfile(photo, folder / photo.name)) for photo in originals]

    from sklearn.datasets import load_digits

    photos = []
    scans = load_digits().images
    for number in range(count):
        # Grain, so that no two are alike and the files are as large as photos are.
        grain = np.random.default_rng(number).integers(0, 64, (240, 320), np.uint8)
        scan = Image.fromarray((scans[number % len(scans)] * 11).astype(np.uint8))
        pixels = grain + np.asarray(scan.resize((320, 240)))
        photos.append(folder / f"{number}.jpg")
        Image.fromarray(pixels).convert("RGB").save(photos[-1])
    return photos


def write_params(folder: Path, image_size: int) -> None:
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["ingest"] |= {"source": "kaggle-csv", "root": "raw", "image_size": image_size}
    params["ingest"]["kaggle-csv"] = {"train": "train.csv", "test": None, "photos": "data"}
    YAML(typ="safe").dump(params, folder / "params.yaml")


def list_photos(folder: Path, photos: list[Path]) -> None:
    lines = ["ImageID,Labels", *(f"{photo.name},1" for photo in photos)]
    (folder / "raw" / "train.csv").write_text("\n".join(lines))


def ingest(folder: Path) -> tuple[float, int]:
    """Runs the stage as DVC does, without the outputs of the last time; seconds and decoded."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TAGLOOM_CACHE": str(folder / "cache")}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "stages.ingest"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - start
    return seconds, int(re.search(r"([\d,]+) decoded", done.stdout)[1].replace(",", ""))


def time_of_pillow(photos: list[Path], size: int) -> float:
    """Seconds for Pillow to open, decode and resize ``photos`` on all cores."""
    with Pool(len(os.sched_getaffinity(0))) as pool:
        pool.map(partial(decode, size=size), photos[:64])  # started, imported
        start = time.perf_counter()
        for _ in pool.imap_unordered(partial(decode, size=size), photos, chunksize=32):
            pass
        return time.perf_counter() - start


def decode(photo: Path, size: int) -> None:
    with Image.open(photo) as image:
        image.draft(None, (2 * size, 2 * size))  # as ingest does: large ones at a fraction
        image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


if __name__ == "__main__":
    main()
