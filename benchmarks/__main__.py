"""Runs all benchmarks, one after the other, and prints one table: ``python -m benchmarks``.

Each is a process of its own, so that none has the memory or the threads of the one before.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import HEADER, Row, add_options, machine

# In the order of the pipeline. Four are run alone: benchmarks.coco18, which compares how good
# networks are and takes an hour, benchmarks.backbones, benchmarks.search and benchmarks.soak.
BENCHMARKS = (
    *("ingest", "tables", "text", "split", "loading", "gpu", "features", "unknown", "threshold"),
    *("predict", "serve", "pipeline", "memory"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"default: all of {' '.join(BENCHMARKS)}"
    )
    add_options(parser)
    options = parser.parse_args()
    if strange := set(options.names).difference(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(strange))}; there are {' '.join(BENCHMARKS)}")
    passed = [f"--photos={options.photos}", f"--repeats={options.repeats}"]
    passed += ["--gpu"] * options.gpu
    passed += [f"--shared={options.shared}"] if options.shared else []

    print(f"{datetime.now(UTC):%Y-%m-%d}. {machine()}\n\n{HEADER}", flush=True)
    failed = [name for name in options.names or BENCHMARKS if not run(name, passed)]
    if failed:
        sys.exit(f"no figures from {', '.join(failed)}; see above")


def run(name: str, options: list[str]) -> bool:
    """Runs a benchmark and prints its rows; returns whether it ran to its end."""
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", f"--json={file}", *options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            return False
        for row in json.loads(file.read_text("utf-8")):
            print(Row(**row), flush=True)
        return True


if __name__ == "__main__":
    main()
