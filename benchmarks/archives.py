"""What DVC takes for photos in a folder, beside as many in archives; and ingest, of either.

The photos for DVC are tiny, so that what counts is their number. Each is done in a project of its
own, with the settings of this checkout's DVC and a remote that is a folder. The photos for ingest
are those of coco18, or else made up, and the stage is run as DVC runs it, start-up and all. Seconds
are those of the processor: most of the time is Python's, and other work does not count.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image

from benchmarks.table import Options, Row, in_turn, main
from benchmarks.workspace import SOMEONE, Workspace, start_project

COUNTS = (6_000, 60_000)
IN_ARCHIVE = 10_000
MORE = 10  # photos of the second delivery


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        for count in map(options.scaled, COUNTS):
            figures: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
            for repeat in range(options.repeats):
                for side in (0, 1) if repeat % 2 == 0 else (1, 0):
                    for what, seconds in with_dvc(Path(name), count, packed=side == 0):
                        figures[what][side].append(seconds)
            for what, (ours, theirs) in figures.items():
                beside = f"{count:,} files"
                archives = f"archives of {min(count, IN_ARCHIVE):,} photos"
                yield Row(f"{what}, {archives}", beside, "s", ours, theirs)
        (Path(name) / "ingest").mkdir()
        workspace = Workspace(Path(name) / "ingest", options.photos, options, {})
        pack(workspace.folder / "raw")
        for kept in ("photos.zip", "photos.tar"):
            sides = partial(ingest, workspace, kept), partial(ingest, workspace, "photos")
            what = f"ingest of {options.photos:,} photos from {kept}"
            yield Row(what, "from a folder", "s", *in_turn(options.repeats, *sides), "≤ 1.1")


def with_dvc(folder: Path, count: int, packed: bool) -> Iterator[tuple[str, float]]:
    """Yields what was done with ``count`` photos, and the seconds that it took."""
    project, clone, remote = (folder / each for each in ("project", "clone", "remote"))
    start_project(project)
    dvc = partial(run_dvc, project)
    dvc("remote", "add", "--default", "store", str(remote))
    for first in range(0, count, IN_ARCHIVE):
        write(project / "raw", first, min(first + IN_ARCHIVE, count), packed)
    yield "dvc add", dvc("add", "raw")
    yield "dvc status", dvc("status")
    write(project / "raw", count, count + MORE, packed)
    yield f"dvc add after {MORE} photos more", dvc("add", "raw")
    yield "dvc push to a folder", dvc("push")
    for command in (
        ["add", "--all"],
        [*SOMEONE, "commit", "--quiet", "--message", "Photos"],
        ["clone", "--quiet", ".", str(clone)],
    ):
        subprocess.run(["git", *command], cwd=project, check=True)
    run_dvc(clone, "cache", "dir", "--local", str(project / ".dvc" / "cache"))
    yield "dvc checkout in a clone", run_dvc(clone, "checkout")
    for each in (project, clone, remote):
        shutil.rmtree(each)


def run_dvc(folder: Path, *arguments: str) -> float:
    """Seconds of the processor that a command of DVC's takes, start-up and all."""
    before = spent()
    command = [sys.executable, "-m", "dvc", *arguments, "--quiet"]
    subprocess.run(command, cwd=folder, check=True)
    return spent() - before


def spent() -> float:
    """Seconds of the processor of all processes that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def write(folder: Path, first: int, last: int, packed: bool) -> None:
    """Puts the photos of these numbers into ``folder``, or an archive of them."""
    folder.mkdir(exist_ok=True)
    stream = BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG")
    # What follows a JPEG's end does not count, but makes each of them another file.
    contents = {f"{at:07}.jpg": stream.getvalue() + b"%07d" % at for at in range(first, last)}
    if packed:
        with zipfile.ZipFile(folder / f"{first:07}.zip", "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
    else:
        for name, content in contents.items():
            (folder / name).write_bytes(content)


def pack(raw: Path) -> None:
    """Puts the photos in ``raw`` into archives beside them."""
    photos = sorted((raw / "photos").iterdir())
    with zipfile.ZipFile(raw / "photos.zip", "w") as zipped:
        for photo in photos:
            zipped.write(photo, photo.name)
    with tarfile.open(raw / "photos.tar", "w") as tape:
        for photo in photos:
            tape.add(photo, photo.name)


def ingest(workspace: Workspace, photos: str) -> float:
    """Seconds of the processor of an ingest that knows nothing of before."""
    for left in ("cache", "data/images"):
        shutil.rmtree(workspace.folder / left, ignore_errors=True)
    workspace.change({"ingest": {"kaggle-csv": {"photos": photos}}})
    before = spent()
    workspace.run("ingest")
    return spent() - before


if __name__ == "__main__":
    main(rows, __file__)
