"""What DVC prints: which stage a line belongs to, and why DVC stopped."""

import os
import re
import select
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from experiments.dvc_project.errors import Silent
from stages import printable

Outcome = Literal["ran", "cached", "failed"]

UNCHANGED = "command, parameters, inputs and outputs did not change"
RESTORED = "ran before with this command, parameters and inputs; outputs restored from the cache"
FROZEN = "the stage is frozen, its outputs are taken as they are"

# What DVC prints where a stage begins or fails, and what that says of it …
MARKS: tuple[tuple[re.Pattern[str], Outcome, str], ...] = (
    (re.compile(r"Running stage '(.+)':"), "ran", ""),
    (re.compile(r"Stage '(.+)' didn't change, skipping"), "cached", UNCHANGED),
    (
        re.compile(r"Stage '(.+)' is cached - skipping run, checking out outputs"),
        "cached",
        RESTORED,
    ),
    (re.compile(r"Verifying outputs in frozen stage: '(.+)'"), "cached", FROZEN),
    (re.compile(r"ERROR: failed to reproduce '([^']+)'.*"), "failed", ""),
)
# … where a stage is done, where an experiment begins, and before an error that stops DVC.
STAGE_END = re.compile(r"(?:Generating|Updating) lock file '.+'")
EXPERIMENT = re.compile(r"Reproducing experiment '(.+)'")
ERROR = "ERROR: "
UNEXPECTED = "unexpected error - "  # one that DVC has no words for
BLOCK = 2**16  # bytes that are read of a child's output at once, at most
SUPPORT = "Having any troubles?"  # DVC's advertisement after an unexpected error


@dataclass(frozen=True)
class Line:
    """A line of a run's output.

    ``stage`` is None where it belongs to none. The line that begins a stage or says that it failed
    carries the ``outcome``, and the ``reason`` why the stage ran or did not, where that is known.
    """

    stage: str | None
    text: str
    outcome: Outcome | None = None
    reason: str = ""


def output_lines(
    process: subprocess.Popen[bytes], patience: float | None = None, of_stage: bool = False
) -> Iterator[str]:
    """The lines of a child's output, printable; of a progress bar that redraws its line, the last
    drawing.

    Args:
        patience: minutes that a stage may say nothing; None: for ever. What DVC does between stages
            has no limit: it reads and moves data without a word, however much that is.
        of_stage: whether the child is a stage itself, and not a DVC that runs stages.

    Raises:
        Silent: a stage has said nothing for that long. The child is still running.
    """
    assert process.stdout is not None
    descriptor, rest = process.stdout.fileno(), b""
    while True:
        seconds = patience * 60 if patience and of_stage else None
        if not select.select([descriptor], [], [], seconds)[0]:
            raise Silent(
                f"it said nothing for {patience:g} minutes (retrain.patience), so it was ended"
            )
        if not (part := os.read(descriptor, BLOCK)):
            break
        *whole, rest = (rest + part).split(b"\n")
        rest = rest[rest.rfind(b"\r", 0, -1) + 1 :]  # of a bar that is drawn for hours
        for raw in whole:
            text = _last_drawing(raw)
            if (head := mark(text)) or STAGE_END.fullmatch(text):
                of_stage = head is not None and head.outcome == "ran"
            yield _shown(text)
    if rest:
        yield _shown(_last_drawing(rest))


def _shown(text: str) -> str:
    """``text`` printable; tabs, as in tables, do no harm."""
    return "\t".join(map(printable, text.split("\t")))


def _last_drawing(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]


def mark(text: str) -> Line | None:
    """The line, where DVC says with it that a stage begins or fails."""
    for pattern, outcome, reason in MARKS:
        if match := pattern.fullmatch(text):
            return Line(match[1], text.removeprefix(ERROR), outcome, reason)
    return None


def last_words(log: list[str]) -> str:
    """The last line before DVC's own error, as a rule the stage's, and that error."""
    lines = [line.rstrip("\r").rpartition("\r")[2].strip() for line in log]
    lines = [line for line in lines if line]
    errors = [i for i, line in enumerate(lines) if line.startswith(ERROR)]
    if not errors:
        return f"failed; the last line of its log: {lines[-1]}" if lines else "failed"
    first = errors[0]
    error = lines[first].removeprefix(ERROR)
    return f"{lines[first - 1]} ({error})" if first else error
