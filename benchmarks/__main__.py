"""Runs all benchmarks, one after the other, and prints one table: ``python -m benchmarks``."""

import argparse
import sys
from datetime import UTC, datetime

from benchmarks.child import Failed, rows_of
from benchmarks.table import HEADER, Options, add_options, machine

# In the order of the pipeline. Seven are run alone: benchmarks.coco18, which compares how good
# networks are and takes an hour, benchmarks.archives, .backbones, .coverage, .schedule, .search and
# .soak.
BENCHMARKS = (
    *("ingest", "tables", "text", "split", "loading", "gpu", "learning", "features", "unknown"),
    *("doubts", "next", "store", "threshold", "predict", "runtimes", "serve", "pipeline", "memory"),
    "cluster",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"default: all of {' '.join(BENCHMARKS)}"
    )
    add_options(parser)
    given = vars(parser.parse_args())
    names = given.pop("names")
    if strange := set(names).difference(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(strange))}; there are {' '.join(BENCHMARKS)}")

    print(f"{datetime.now(UTC):%Y-%m-%d}. {machine()}\n\n{HEADER}", flush=True)
    failed = []
    for name in names or BENCHMARKS:
        try:
            for row in rows_of(f"benchmarks.{name}:rows", Options(**given)):
                print(row, flush=True)
        except Failed:
            failed.append(name)
    if failed:
        sys.exit(f"no figures, or not all, from {', '.join(failed)}; see above")


if __name__ == "__main__":
    main()
