"""``--threshold``: other thresholds than those of the bundle."""

import difflib
from collections.abc import Sequence

import numpy as np
import typer

from stages.ingest.naming import named


def overridden(thresholds: np.ndarray, labels: list[str], changes: Sequence[str]) -> np.ndarray:
    """The thresholds, float64 (labels,), with ``changes`` like ``0.3`` or ``dog=0.2,cat=0.6``.

    A number alone is for all labels; those that are named win over it.

    Raises:
        typer.BadParameter: a change is none, or names no label.
    """
    changed = thresholds.astype(np.float64)
    parts = [part for change in changes for part in _parts(change, labels)]
    for label, number in sorted(parts, key=lambda part: part[0] is not None):
        changed[slice(None) if label is None else labels.index(label)] = number
    return changed


def _parts(change: str, labels: list[str]) -> list[tuple[str | None, float]]:
    # The name of a label may hold a comma.
    label, _, number = change.rpartition("=")
    whole = named(label, labels) is not None and "," not in number
    return [_part(part, labels) for part in ([change] if whole else change.split(","))]


def _part(part: str, labels: list[str]) -> tuple[str | None, float]:
    name, _, number = part.rpartition("=")
    label = named(name, labels) if "=" in part else None
    if label is None and "=" in part:
        raise typer.BadParameter(unknown(name.strip(), labels), param_hint="--threshold")
    try:
        threshold = float(number)
    except ValueError:
        threshold = np.nan
    if not 0 <= threshold <= 1:
        raise typer.BadParameter(
            f"{part!r} is neither a number from 0 to 1, like 0.3, nor one for a label, like "
            f"{labels[0]}=0.3",
            param_hint="--threshold",
        )
    return label, threshold


def unknown(label: str, labels: Sequence[str]) -> str:
    """Says that the model has no such label, and which it may be."""
    lower = {each.lower(): each for each in labels}
    nearest = difflib.get_close_matches(label.lower(), lower, n=1, cutoff=0.5)
    hint = f"did you mean {lower[nearest[0]]!r}?" if nearest else f"it has {_few(labels)}"
    return f"the model has no label {label!r}; {hint}"


def _few(labels: Sequence[str], most: int = 20) -> str:
    rest = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + rest
