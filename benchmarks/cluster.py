"""Two nodes of a cluster, of one core each, beside one core: photos decoded, photos predicted.

Both sides run a stage as DVC does, start-up and all, on the same photos; the outputs are compared.
The nodes are there before, and on a machine of two cores they share these with the stage itself,
which reads the list and puts results in order. Then what ingest takes of the machine that starts
it, for ten times as many rows, of photos of 32 pixels, each under many names. It runs on Linux.
"""

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from benchmarks.memory import peak
from benchmarks.nodes import NODES, nodes
from benchmarks.table import Options, Row, in_turn, main
from benchmarks.workspace import Workspace
from stages import cluster
from stages.files import digest

PHOTOS = 8_000
NAMES = 4  # of each photo, so that the start of workers, some seconds, is little beside the rest
ASKED = 0.12  # of them are predicted, which takes a core ten times as long as to decode them
PIECES = 2_000
SIZE = 224
ROWS, FILES, TINY = (100_000, 1_000_000), 100, 32
WRITTEN = {"ingest": "data/images", "predict": "data/predictions.csv"}


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    count = NAMES * min(PHOTOS, options.photos)
    weights = options.shared / "weights" / "squeezenet1_0-imagenet.pth" if options.shared else None
    changes = {
        "ingest": {"image_size": SIZE, "labels": [str(number) for number in range(18)]},
        "train": {
            "inputs": "image", "backbone": "squeezenet1_0", "weights": str(weights or "none"),
            "epochs": 0, "augment": {"shift": 0},
        },
        "bundle": {"onnx": False},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name, nodes() as started:
        workspace = Workspace(Path(name), count, options, changes, NAMES, test=ASKED)
        workspace.run("ingest", "split", "vocab", "train", "threshold", "bundle")
        asked = {"ingest": count, "predict": round(count * ASKED)}
        for stage, photos in asked.items():
            there = partial(rate, workspace, stage, photos, started.address)
            figures = in_turn(
                options.repeats, there, partial(on_one_core, workspace, stage, photos)
            )
            yield Row(
                f"{stage} of {photos:,} photos, {NODES} nodes of one core",
                *("one core", "photos/s", *figures, "≥ 1.8"),
            )
        os.environ["RAY_ADDRESS"] = started.address
        with ThreadPoolExecutor(NODES) as pool:
            figures = in_turn(
                options.repeats,
                lambda: milliseconds(partial(cluster.spread, nothing, None)),
                lambda: milliseconds(partial(pool.map, partial(nothing, None))),
            )
        yield Row("a piece of nothing", "of a pool of threads", "ms", *figures)
        yield from of_head(options, started.address)


def of_head(options: Options, address: str) -> Iterator[Row]:
    """What ingest takes of the machine that starts it, on the cluster and without one."""
    counts = [options.scaled(rows) for rows in ROWS]
    there, here = ([taken(options, rows, at) for rows in counts] for at in (address, ""))
    names = f"on {NODES} nodes", "on this machine"
    for where, (less, more) in zip(names, (there, here), strict=True):
        what = f"memory of ingest, {counts[1]:,} rows, {where}"
        yield Row(what, f"{counts[0]:,} rows", "MB", [more[0] / 2**20], [less[0] / 2**20])
    for kind, unit, at, goal in (("memory", "B", 0, "≤ 1"), ("processor", "µs", 1, "")):
        ours, theirs = ((y[at] - x[at]) / (counts[1] - counts[0]) for x, y in (there, here))
        what = f"{kind} of ingest for each row more, {names[0]}"
        yield Row(what, names[1], unit, [ours], [theirs], goal)


def taken(options: Options, rows: int, address: str) -> tuple[float, float]:
    """Of the stage and its children the most memory, in bytes, and the processor's microseconds."""
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        changes = {"ingest": {"image_size": TINY}}
        workspace = Workspace(Path(name), rows, options, changes, repeat=rows // FILES)
        photos = (workspace.folder / "raw/photos").iterdir()
        for photo in {each.stat().st_ino: each for each in photos}.values():  # of all of its names
            with Image.open(photo) as image:
                image.resize((TINY, TINY)).save(photo)
        workspace.environment["RAY_ADDRESS"] = address
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        most = peak(workspace.start("ingest"))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return most, seconds * 1e6


def rate(workspace: Workspace, stage: str, photos: int, address: str = "") -> float:
    """Photos a second, start-up and all; what was written before is compared with what is now."""
    if stage == "ingest":
        shutil.rmtree(workspace.folder / "cache" / "images")
    written = workspace.folder / WRITTEN[stage]
    before = content(written)
    workspace.environment["RAY_ADDRESS"] = address
    seconds = workspace.run(stage)
    assert before in (None, content(written)), f"{written} is another"
    return photos / seconds


def content(path: Path) -> str | None:
    """A hash of a file, or of those in a folder; None: there is none."""
    return digest(*(sorted(path.iterdir()) if path.is_dir() else [path])) if path.exists() else None


def on_one_core(*what: object) -> float:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        return rate(*what)
    finally:
        os.sched_setaffinity(0, allowed)


def nothing(common: None, piece: int) -> int:
    return piece


def milliseconds(over: Callable[[range], Iterable[int]]) -> float:
    """A piece."""
    started = time.perf_counter()
    assert list(over(range(PIECES))) == list(range(PIECES))
    return 1000 * (time.perf_counter() - started) / PIECES


if __name__ == "__main__":
    main(rows, __file__)
