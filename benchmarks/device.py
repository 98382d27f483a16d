"""All that needs a GPU, on a machine that is reached by files only and had for minutes only.

``python -m benchmarks.device`` runs the parts below, the most valuable first, each in a process of
its own and within its own time, and ends within nine minutes whatever happens. What a part finds
is written as it comes, to ``rows.jsonl`` and ``rows.md`` in ``--out``, and so is what it failed of;
``log.txt`` has all that was said. ``--tiny`` tries the code where there is no GPU, and lets parts
take what is left of the time. How the packages and photos get there: ``benchmarks.parcels``.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

from benchmarks.child import Failed, rows_of
from benchmarks.parcels import HERE, ROOT
from benchmarks.table import HEADER, Options, Row

SECONDS = 530  # for everything but the end of a part that has to be ended
LEAST = 10  # seconds without which a part is not begun
SLOWEST = 3000  # photos that each measurement of speed is of, at most
TINY = 24  # photos to try the code with


@dataclass(frozen=True)
class Part:
    """Rows of a benchmark.

    Attributes:
        source: ``MODULE:FUNCTION``, as ``rows_of`` takes it.
        seconds: that it may take.
        photos: at most; None: all there are.
        repeats: of each measurement.
    """

    name: str
    source: str
    seconds: float
    photos: int | None = SLOWEST
    repeats: int = 2


PARTS = (
    Part("tests", "benchmarks.device:tests", 150),
    Part("precision", "benchmarks.gpu:precision", 75, repeats=3),
    Part("loading", "benchmarks.loading:rows", 75),
    Part("compilation", "benchmarks.gpu:compilation", 90),
    Part("learning", "benchmarks.learning:rows", 240, photos=None),
    Part("memory", "benchmarks.gpu:memory", 40),
    Part("runtimes", "benchmarks.runtimes:rows", 60),
)


def main() -> None:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"default: {' '.join(names)}")
    parser.add_argument("--out", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--shared", type=Path, default=shared(), help="photos and weights")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"default: {SECONDS}")
    parser.add_argument("--tiny", action="store_true", help="only try the code out")
    given = parser.parse_args()
    if strange := set(given.parts).difference(names):
        parser.error(f"no part {', '.join(sorted(strange))}; there are {' '.join(names)}")
    signal.signal(signal.SIGTERM, stop)
    end = time.monotonic() + given.seconds
    given.out.mkdir(parents=True, exist_ok=True)
    photos = given.shared.resolve() if given.shared else None
    options = Options(gpu=not given.tiny, shared=photos, tiny=given.tiny)
    with (given.out / "rows.md").open("a", encoding="utf-8") as table:
        table.write(f"{machine()}\n\n{HEADER}\n")
    chosen = [part for part in PARTS if part.name in (given.parts or names)]
    run(chosen, options, given.out, end)


def stop(number: int, frame: FrameType | None) -> None:
    """Ends the part at work and this process: what there is is written."""
    sys.exit(128 + number)


def machine() -> str:
    """What the figures are measured on; asked apart, for a GPU that hangs would hang this, too."""
    ask = [sys.executable, "-c", "from benchmarks.table import machine; print(machine())"]
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(ask, capture_output=True, text=True, timeout=60, check=False).stdout
    return "a machine that did not say what it is\n"


def shared() -> Path | None:
    """The folder of photos and weights: that of parcels, else that of the environment."""
    if (HERE / "shared").exists():
        return HERE / "shared"
    named = os.environ.get("TAGLOOM_SHARED")
    return Path(named) if named else None


def run(parts: list[Part], options: Options, out: Path, end: float) -> None:
    """Runs the parts one after the other until ``end``, by the monotonic clock."""
    with (
        tempfile.TemporaryDirectory(prefix="tagloom-", ignore_cleanup_errors=True) as temporary,
        (out / "rows.jsonl").open("a", encoding="utf-8") as lines,
        (out / "rows.md").open("a", encoding="utf-8") as table,
    ):
        for part in parts:
            started = time.monotonic()
            left = end - started
            limit = 0 if left < LEAST else left if options.tiny else min(part.seconds, left)
            for row in outcome(part, limit, options, out / "log.txt", temporary):
                content = {"part": part.name, "seconds": round(time.monotonic() - started, 1)}
                print(json.dumps(content | asdict(row)), file=lines, flush=True)
                print(row, file=table, flush=True)
                print(row, flush=True)


def outcome(part: Part, limit: float, options: Options, log: Path, temporary: str) -> Iterator[Row]:
    """The rows of a part; the last says how it failed, where it did."""
    if limit <= 0:
        yield missing(part, "there was no time left")
        return
    own = replace(options, photos=photos_for(part, options), repeats=part.repeats)
    if options.tiny:
        own = replace(own, repeats=1)
    with log.open("ab") as file:
        file.write(f"\n{part.name}\n".encode())
        file.flush()
        begun = file.tell()
        try:
            # Of a part that is ended, what it has put aside goes with the folder.
            yield from rows_of(part.source, own, limit, file, {"TMPDIR": temporary})
        except Failed as failed:
            with log.open("rb") as said:
                said.seek(begun)
                lines = said.read().decode("utf-8", "replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            yield missing(part, f"{failed}: {last}")


def missing(part: Part, reason: str) -> Row:
    return Row(f"the rest of {part.name}", "", "", [], [], note=reason.replace("|", "/"))


def photos_for(part: Part, options: Options) -> int:
    """How many it takes: few where it is only tried out, and no more than there are."""
    most = TINY if options.tiny else part.photos or Options.photos
    if options.shared is None:
        return most
    return min(most, len(list((options.shared / "coco18" / "data").glob("*.jpg"))))


def tests(options: Options) -> Iterator[Row]:
    """The tests that are marked ``gpu``."""
    files = sorted(
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").rglob("test_*.py")
        if "mark.gpu" in file.read_text("utf-8")
    )
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-p", "no:cacheprovider"]
        command += ["-p", "pytest_timeout", f"--junitxml={report}", *files]
        alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others may be there
        subprocess.run(command, cwd=ROOT, env=alone, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    ended = {
        kind: [case.get("name", "") for case in cases if case.find(kind) is not None]
        for kind in ("skipped", "failure", "error")
    }
    what, count = "tests marked gpu that pass", len(cases) - len(ended["skipped"])
    failed = ended["failure"] + ended["error"]
    note = f"{len(ended['skipped'])} skipped" + (f"; failed: {', '.join(failed)}" if failed else "")
    figures = ([count - len(failed)], [count]) if count else ([], [])
    yield Row(what, "that were run", "", *figures, "≥ 1", note)


if __name__ == "__main__":
    main()
