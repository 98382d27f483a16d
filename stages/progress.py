"""A progress bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10
_writes_lines = ContextVar("writes_lines", default=True)


@contextmanager
def on_terminals_only() -> Iterator[None]:
    """Lets what is at work in the block show its progress on a terminal, and write no line else."""
    before = _writes_lines.set(False)
    try:
        yield
    finally:
        _writes_lines.reset(before)


class Progress:
    """Counts up to ``total``, with figures beside the count (``show(loss=0.31)``).

    Use it as a context manager, or ``track`` for a plain loop.

    Args:
        before: how many of them were done before; the rate is that of the others.
    """

    def __init__(self, what: str, total: int, unit: str, before: int = 0) -> None:
        self.what, self.total, self.unit = what, total, unit
        self._done = self._before = before
        self._figures: dict[str, Any] = {}
        self._started = self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                desc=what, total=total, initial=before, unit=f" {unit}", dynamic_ncols=True
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif error[0] is None:
            self._write_line()

    def advance(self, count: int = 1) -> None:
        """Counts ``count`` more as done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._write_line()

    def show(self, **figures: Any) -> None:
        """Figures to show beside the count, from now on."""
        self._figures = figures
        if self._bar is not None:
            self._bar.set_postfix(figures)

    def _write_line(self) -> None:
        if not (self.total and _writes_lines.get()):
            return
        self._last_line = time.monotonic()
        rate = (self._done - self._before) / max(self._last_line - self._started, 1e-9)
        figures = "".join(f", {name} {value}" for name, value in self._figures.items())
        print(
            f"{self.what}: {self._done:,} of {self.total:,} {self.unit} ({rate:,.0f}/s){figures}",
            file=sys.stderr,
            flush=True,
        )


def track(items: Iterable[Item], what: str, total: int, unit: str) -> Iterator[Item]:
    """Yields ``items`` and shows how many have been taken."""
    with Progress(what, total, unit) as progress:
        for item in items:
            yield item
            progress.advance()
