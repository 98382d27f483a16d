"""Whether a new model takes the place of the one in use."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.dvc_project import ProjectError, Transient, fetch, locked_outputs
from experiments.registry import MODEL, Version
from experiments.workspace import Workspace

# What the judge is given of the model in use; it finds the new one in the workspace.
JUDGED = ("models/bundle", "data/records.parquet", "data/folds.parquet")
# What makes two models the same: the bundle says when and by which commit it was made, too.
LEARNT = ("models/network", "models/decision.json", "data/records.parquet", "data/folds.parquet")


@dataclass(frozen=True)
class Verdict:
    """Whether the new model takes the place of the one in use.

    Attributes:
        reason: why or why not, for people.
        figures: of ``evaluation.judge``; None where the two could not be compared.
    """

    promoted: bool
    reason: str
    figures: dict[str, Any] | None = None


def decide(figures: dict[str, Any], params: dict[str, Any]) -> Verdict:
    """The verdict that ``retrain.*`` make of the judge's figures."""
    if "incomparable" in figures:
        return Verdict(False, figures["incomparable"])
    gain, metric = figures["gain"], figures["metric"]
    least, most = params["retrain.min_gain"], params["retrain.max_label_drop"]
    gained = (
        f"{metric} {figures['challenger'][metric]['value']:.3f} on {figures['rows']:,} photos, "
        f"{gain['value']:+.3f}{_range(gain)} over the model in use"
    )
    reasons = []
    if gain["low"] is None:
        reasons.append(f"whether that is chance cannot be said: {gain['reason']}")
    elif not gain["low"] > least:
        reasons.append(f"the gain is not surely above {least:g}")
    for label, each in figures["labels"].items():
        if not each["count"]:
            continue  # nothing is known of it
        if (drop := each["champion"]["value"] - each["challenger"]["value"]) > most:
            reasons.append(f"F1 of {label} falls by {drop:.3f}, more than {most:g}")
    return Verdict(not reasons, "; ".join([gained, *reasons]), figures)


def _range(gain: dict[str, Any]) -> str:
    return "" if gain["low"] is None else f" ({gain['low']:+.3f} to {gain['high']:+.3f})"


def same_as(workspace: Workspace, rev: str, champion: Version | None, force: bool) -> str:
    """What the model of ``rev`` is the same as, for people; empty where it is another.

    One that was judged before is judged again with ``force`` only.
    """
    earlier = {f"{champion.name}, the {MODEL} in use": champion.rev} if champion else {}
    if champion and not force and (judged := workspace.judged()):
        earlier["the one that was judged last"] = judged
    outputs = {each: locked_outputs(workspace.root, each) for each in (rev, *earlier.values())}

    def is_same(other: str) -> bool:
        return all(outputs[rev].get(path) == outputs[other].get(path) for path in LEARNT)

    return next((what for what, other in earlier.items() if is_same(other)), "")


def fetch_judged(workspace: Workspace, champion: Version) -> Path:
    """The folder that holds what the judge needs of the model in use.

    Raises ProjectError where it is nowhere to be had, Transient where a remote is out of reach.
    """
    folder = workspace.scratch / "champion"
    if not folder.exists():
        name = f"the {MODEL} {champion.name}"
        try:
            fetch(workspace.root, champion.rev, name, JUDGED, folder)
        except Transient:
            raise
        except ProjectError as error:
            raise ProjectError(
                f"{error}. Without it no new model can be compared with the one in use; to begin "
                "anew, with the next one as the first: python -m experiments.registry --retire"
            ) from error
    return folder
