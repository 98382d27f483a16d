"""Photos kept as JPEG beside raw ones: their bytes, reading them, and what is learnt of them.

A last layer learns on features of EfficientNet-Lite0 that are computed from each store, and is
asked about other photos: of its own store, and raw ones, as ``tagloom`` sees them. Each repeat
parts the photos otherwise, for all stores alike. It takes real photos.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import torch

from benchmarks.next import CHANGES, Part, fitted, parts, standardised
from benchmarks.table import Options, Row, in_turn, main
from benchmarks.unknown import prepare
from stages import metrics
from stages.ingest.images import IMAGES, ImageStore
from stages.params import read
from stages.threshold.fit import cross_fit
from stages.threshold.params import Threshold

PHOTOS = 4_000
BATCH = 64
VALIDATION = 0.2
LOST = 0.002  # of micro-F1, at most


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    if options.shared is None:
        yield Row("photos kept as JPEG", "raw", "kB", [], [], "≤ 0.11", "takes real photos")
        return
    count = min(PHOTOS, options.photos)
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        folders = {codec: Path(name) / codec for codec in ("jpeg", "raw")}
        features = {
            codec: prepared(folder, codec, count, options.shared)
            for codec, folder in folders.items()
        }
        stores = {codec: ImageStore(folder / IMAGES) for codec, folder in folders.items()}
        sizes = [
            sum(file.stat().st_size for file in store.folder.iterdir()) / count / 1000
            for store in stores.values()
        ]
        yield Row(
            "a photo of 224 pixels kept as JPEG",
            *("raw", "kB", sizes[:1], sizes[1:], "≤ 0.11", f"{count:,} photos of coco18"),
        )
        ours, theirs = in_turn(options.repeats, *map(reading, stores.values()))
        yield Row("… read in batches", "raw", "photos/s", ours, theirs)
        with chdir(folders["raw"]):
            params = read(Threshold)
        raw = [learnt(features["raw"], features["raw"], n, params) for n in range(options.repeats)]
        for codec, what in (("jpeg", "and validated on them"), ("raw", "and validated raw")):
            jpeg = [
                learnt(features["jpeg"], features[codec], n, params) for n in range(options.repeats)
            ]
            lost = np.mean(raw) - np.mean(jpeg)
            yield Row(
                f"… micro-F1, learnt {what}",
                *("raw", "", jpeg, raw, f"≥ {1 - LOST / np.mean(raw):.4f}", f"{-lost:+.4f}"),
            )


def prepared(folder: Path, codec: str, count: int, shared: Path) -> Part:
    """Features and truth of all photos, once the stages before train have run in ``folder``."""
    folder.mkdir()
    with chdir(folder):
        os.environ["TAGLOOM_CACHE"] = str(folder / "cache")
        weights = shared / "weights" / "tf_efficientnet_lite0.safetensors"
        kept = {"ingest": CHANGES["ingest"] | {"store": codec}}
        prepare(count, shared, CHANGES | kept, weights)
        seen, truth = zip(*parts(), strict=True)
    return Part(torch.cat(seen), np.concatenate(truth))


def reading(store: ImageStore) -> Callable[[], float]:
    """Measures photos a second, each once, in an order that training could have."""
    order = np.random.default_rng(7).permutation(len(store))

    def run() -> float:
        started = time.perf_counter()
        for first in range(0, len(order), BATCH):
            store.gather(order[first : first + BATCH])
        return len(order) / (time.perf_counter() - started)

    return run


def learnt(pool: Part, asked: Part, seed: int, params: Threshold) -> float:
    """Micro-F1 on some photos of ``asked``, of a last layer that learnt on the others of ``pool``.

    Each photo is decided by the threshold found on other ones.
    """
    order = np.random.default_rng(seed).permutation(len(pool.truth))
    validation, training = np.split(order, [round(VALIDATION * len(order))])
    learning, held_out = standardised(
        Part(pool.seen[training], pool.truth[training]),
        Part(asked.seen[validation], asked.truth[validation]),
    )
    weight, bias = fitted(*learning)
    said = torch.sigmoid(held_out.seen @ weight + bias).numpy()
    return metrics.micro_f1(held_out.truth, cross_fit(held_out.truth, said, params))


if __name__ == "__main__":
    main(rows, __file__)
