"""The page of a retraining's artifact: what was decided, and the figures it was decided by."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.dvc_project import git_file
from experiments.registry import Version
from stages.markdown import plain

WHO = ("champion", "challenger")
COSTS = {  # of metrics/train.json: the words, and how a number is written
    "mb": ("size, MB", "{:,.1f}"),
    "seconds": ("training, seconds", "{:,.0f}"),
    "peak_memory_mb": ("peak memory, MB", "{:,.0f}"),
    "photos_per_second": ("photos a second", "{:,.0f}"),
    "hardware": ("hardware", "{}"),
}


def page(
    root: Path,
    name: str,
    reason: str,
    figures: dict[str, Any] | None,
    before: Version | None,
    rev: str,
    now: Version,
    remarks: Sequence[str],
) -> str:
    """The verdict as Markdown, with both models side by side where they were compared.

    Labels, messages, names of files and of machines are others' and stand there as plain text.

    Args:
        name, rev: the new model's experiment, and its commit.
        figures: of ``evaluation.judge``.
        before: the model that was in use.
        now: the one that is.
        remarks: what is to be read before all else.
    """
    outcome = "promoted" if now != before else "not promoted"
    text = "".join(f"> **{plain(remark)}**\n\n" for remark in remarks)
    text += f"# {plain(name)}: {outcome}\n\n{plain(reason)}.\n\n"
    text += f"In use: **{now.name}**, {plain(now.message)}.\n"
    if figures and before:
        revs = (before.rev, rev)
        text += _table([f"on {figures['rows']:,} photos", before.name, "new"], _overall(figures))
        text += _table(["costs", before.name, "new"], _costs(root, revs))
        columns = [
            f"{what} {side}" for what in ("F1", "threshold") for side in (before.name, "new")
        ]
        text += _table(["label", "photos", *columns], _labels(root, revs, figures))
        text += _drift(figures["drift"])
    short = rev[:7]
    text += (
        "\n## To see more\n\n```sh\n"
        + (f"dvc metrics diff {before.rev[:7]} {short}\n" if before else "")
        + f"dvc get . report --rev {short} --out report-{short}  # where it looks, what it reads\n"
        "python -m experiments.registry  # what is in use; --use goes back\n```\n"
    )
    return text


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows] if rows else []
    return "\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _overall(figures: dict[str, Any]) -> list[list[str]]:
    sides = [figures[who] for who in WHO]
    return [[metric, *(_interval(side[metric]) for side in sides)] for metric in sides[0]]


def _costs(root: Path, revs: tuple[str, str]) -> list[list[str]]:
    """Of the two commits; what neither has is left out."""
    costs = [json.loads(git_file(root, rev, "metrics/train.json") or "{}") for rev in revs]
    for each in costs:
        each |= {key: plain(value) for key, value in each.items() if isinstance(value, str)}
    return [
        [words, *(style.format(each[key]) if key in each else "" for each in costs)]
        for key, (words, style) in COSTS.items()
        if any(key in each for each in costs)
    ]


def _labels(root: Path, revs: tuple[str, str], figures: dict[str, Any]) -> list[list[str]]:
    thresholds = []
    for rev in revs:
        table = csv.DictReader(
            io.StringIO(git_file(root, rev, "metrics/threshold/labels.csv") or "")
        )
        thresholds.append({row["label"]: f"{float(row['threshold']):.3f}" for row in table})
    return [
        [
            plain(label),
            f"{each['count']} of {each['known']}" if "known" in each else str(each["count"]),
            *("–" if each[who] is None else _interval(each[who]) for who in WHO),
            *(of_label.get(label, "") for of_label in thresholds),
        ]
        for label, each in figures["labels"].items()
    ]


def _interval(figure: dict[str, Any]) -> str:
    low, high = figure["low"], figure["high"]
    return f"{figure['value']:.3f} ({'–' if low is None else f'{low:.3f}–{high:.3f}'})"


def _drift(drift: dict[str, Any]) -> str:
    """How the new photos differ from those before."""
    before, new = drift["photos"]["before"], drift["photos"]["new"]
    if not new:
        return f"\nThe same {before:,} photos as before.\n"
    rows = {f"rate of {plain(label)}": rates for label, rates in drift["label_rates"].items()}
    rows["words that the model in use does not know"] = drift["unknown_words"]
    # Of how many photos each rate is, where that is not of all that have labels.
    counted = drift.get("label_known", {}).items()
    known = {f"rate of {plain(label)}": counts for label, counts in counted}
    cells = [
        [what, *(_share(values[s], known.get(what, {}).get(s)) for s in ("before", "new"))]
        for what, values in rows.items()
    ]
    sizes = (drift["median_size"][side] for side in ("before", "new"))
    pixels = ("" if size is None else f"{size[0]:.0f} × {size[1]:.0f}" for size in sizes)
    cells.append(["median size in pixels", *pixels])
    text = f"\n## New photos: {new:,}, beside {before:,}\n" + _table(["", "before", "new"], cells)
    for key, what in (("new_labels", "New labels"), ("gone_labels", "Labels that are gone")):
        if drift[key]:
            text += f"\n{what}: {', '.join(map(plain, drift[key]))}.\n"
    return text


def _share(share: float | None, photos: int | None) -> str:
    """In percent; and of how many photos it is, where that is said."""
    if share is None:
        return ""
    return f"{share:.1%}" if photos is None else f"{share:.1%} of {photos:,}"
