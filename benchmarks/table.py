"""What a benchmark yields, a row a question, and how rows are printed.

A benchmark is a module of this folder with a function ``rows`` from ``Options`` to rows. Run alone,
``python -m benchmarks.split``, it prints its own; ``python -m benchmarks`` runs all of them.
"""

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

HEADER = "| what | ours | beside it | ratio (spread) | goal | |\n|---|---|---|---|---|---|"
WHOLE = 12_000  # photos of a whole run
PACKAGES = (
    "torch torchvision timm pillow numpy polars scikit-learn scikit-multilearn nltk dvc prefect"
)


@dataclass(frozen=True)
class Row:
    """Something of ours beside what a user would otherwise have, or beside a physical limit.

    Attributes:
        what: that was measured.
        beside: what it is compared with.
        unit: of the figures, like ``photos/s`` or ``s``; may be empty.
        ours: a figure for each repeat; empty: not measured here, and ``note`` says why.
        theirs: of ``beside``, measured in the same repeat.
        goal: of the ratio ours ÷ theirs, like ``≥ 0.85``; empty: there is none.
        note: what bounds it.
    """

    what: str
    beside: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    goal: str = ""
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def is_met(self) -> bool | None:
        """Whether the median ratio reaches the goal; None: no goal, or not measured."""
        if not (self.goal and self.ours):
            return None
        sign, goal = self.goal.split()
        ratio = median(self.ratios)
        return ratio >= float(goal) if sign == "≥" else ratio <= float(goal)

    def __str__(self) -> str:
        """The row in Markdown."""
        if not self.ours:
            return f"| {self.what} | not measured | {self.beside} | | {self.goal} | {self.note} |"
        ours, theirs = (
            f"{number(median(f))} {self.unit}".strip() for f in (self.ours, self.theirs)
        )
        ratio = number(median(self.ratios))
        if len(self.ratios) > 1:
            ratio += f" ({number(min(self.ratios))}–{number(max(self.ratios))})"
        verdict = {True: "met", False: "not met", None: ""}[self.is_met]
        last = "; ".join(part for part in (verdict, self.note) if part)
        return (
            f"| {self.what} | {ours} | {self.beside}: {theirs} | {ratio} | {self.goal} | {last} |"
        )


@dataclass(frozen=True)
class Options:
    """What every benchmark is asked.

    Attributes:
        photos: to measure on, at most. What takes no photos is scaled like them.
        repeats: of each measurement.
        gpu: measure what needs a GPU, and only that.
        shared: the folder with real photos and weights; None: made-up ones stand in.
        tiny: only try the code out: what needs a GPU then does with a CPU, where it can, and
            networks are small.
    """

    photos: int = WHOLE
    repeats: int = 3
    gpu: bool = False
    shared: Path | None = None
    tiny: bool = False

    def scaled(self, rows: int) -> int:
        """``rows`` of a whole run; fewer in proportion where fewer photos are asked for."""
        return round(rows * min(1, self.photos / WHOLE))


def number(value: float) -> str:
    """Three digits that count: 0.0123, 1.23, 12.3, 1,234."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 1e-4 else f"{value:.0e}"


def in_turn(
    repeats: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Measures both so many times, one right after the other, each first as often as second.

    A noisy machine is then noisy for both.
    """
    figures: dict[Callable[[], float], list[float]] = {ours: [], theirs: []}
    for repeat in range(repeats):
        for measure in (ours, theirs) if repeat % 2 == 0 else (theirs, ours):
            figures[measure].append(measure())
    return figures[ours], figures[theirs]


def main(rows: Callable[[Options], Iterator[Row]], module: str) -> None:
    """The command line of one benchmark."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{Path(module).stem}")
    add_options(parser)
    options = Options(**vars(parser.parse_args()))
    print(HEADER, flush=True)
    for row in rows(options):
        print(row, flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    defaults = {field.name: field.default for field in fields(Options)}
    shared = os.environ.get("TAGLOOM_SHARED")
    parser.add_argument("--photos", type=int, default=defaults["photos"], help="at most")
    parser.add_argument("--repeats", type=int, default=defaults["repeats"])
    parser.add_argument("--gpu", action="store_true", help="only what needs a GPU")
    parser.add_argument(
        "--shared",
        type=lambda name: Path(name).resolve(),
        default=Path(shared).resolve() if shared else None,
        help="folder with coco18/ and weights/ (default: TAGLOOM_SHARED)",
    )
    parser.add_argument("--tiny", action="store_true", help="only try the code out")


def machine() -> str:
    """What the figures were measured on, in two lines."""
    import psutil
    import torch

    memory = psutil.virtual_memory().total / 2**30
    hardware = f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    if torch.cuda.is_available():
        hardware += f", {torch.cuda.get_device_name()}"
    versions = [f"Python {platform.python_version()}"]
    for name in PACKAGES.split():
        with suppress(PackageNotFoundError):  # each benchmark needs some of them
            versions.append(f"{name} {version(name)}")
    return f"{hardware}.\n{', '.join(versions)}."


def processor() -> str:
    """The CPU's model, as the kernel calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
