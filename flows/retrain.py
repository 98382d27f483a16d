"""Retraining on schedule: what is new is learnt, and put in use only when it is better.

``python -m flows.retrain [--force]``
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.dvc_project import Project, ProjectError, fetch, leashed, output_lines
from flows.plan import PlanError, read
from flows.registry import MODEL, Registry, Version
from flows.reproduce import failure, run_stages
from flows.workspace import Workspace

# What the judge is given of the model in use; it finds the new one in the workspace.
JUDGED = ("models/network", "models/decision.json", "data/records.parquet", "data/folds.parquet")
SKIPPED = "Skipped"


@dataclass(frozen=True)
class Verdict:
    """Whether the new model takes the place of the one in use, and why or why not.

    ``figures`` are those of ``stages.judge``; None where the two could not be compared.
    """

    promoted: bool
    reason: str
    figures: dict[str, Any] | None = None


@flow(description="Retrains where something is new; promotes the model only if it is better.")
def retrain(force: bool = False) -> State:
    """Retrains the DVC project in the current folder at the commit that is checked out.

    Works in a clone, as a DVC experiment named after the time; the checkout stays as it is. Ends as
    Skipped where neither photos nor code nor parameters changed since the last time.

    Args:
        force: Retrain even where nothing changed.
    """
    log = get_run_logger()
    root = Path.cwd()
    try:
        # DVC names stages as they are seen from the current folder.
        with Workspace(root, read(root)["ingest.root"]) as workspace, chdir(workspace.folder):
            project = Project(workspace.folder, held=workspace.claim)
            if not force and not project.is_stale():
                return Completed(name=SKIPPED, message="Nothing is new since the last retraining")
            name = f"{datetime.now():%Y-%m-%d-%H%M%S}"
            states = run_stages(project, force=force, name=name)
            if failed := failure(project, states):
                return Failed(message=failed)
            project.check_sources()
            rev = workspace.result(name)
            registry = Registry(root)
            champion = registry.champion()
            if champion and registry.is_same(champion.rev, rev):
                # Forced, or a run that promoted it was killed before it had taken that down.
                workspace.keep(rev)
                said = f"{name} came out as {champion.name}, the {MODEL} in use"
                return Completed(name=SKIPPED, message=said)
            verdict = judge(workspace, champion)
            log.info("%s: %s", name, verdict.reason)
            if verdict.promoted:
                message = f"Promote {name}\n\n{verdict.reason}"
                champion = promote(registry, rev, workspace.base, message)
            workspace.keep(rev)
            create_markdown_artifact(
                _markdown(name, verdict, champion), key="retrain", description=verdict.reason
            )
    except (PlanError, ProjectError) as error:
        return Failed(message=str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return Failed(message=f"{where}{error.strerror or error}")
    return Completed(
        name="Promoted" if verdict.promoted else "Refused", message=f"{name}: {verdict.reason}"
    )


@task(cache_policy=NO_CACHE, persist_result=False)
def judge(workspace: Workspace, champion: Version | None) -> Verdict:
    """The verdict on the model in the workspace beside the one in use.

    That the two cannot be compared is a verdict, too. Raises ProjectError where the judge broke
    off; the next run judges again.
    """
    if champion is None:
        return Verdict(True, "the first model")
    folder = workspace.scratch / "champion"
    fetch(workspace.root, champion.rev, f"the {MODEL} {champion.name}", JUDGED, folder)
    out = workspace.scratch / "verdict.json"
    command = [sys.executable, "-m", "stages.judge", str(folder), f"--out={out}"]
    options = {"cwd": workspace.folder, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    last = ""
    with leashed(command, options, workspace.claim) as (process, _):
        for text in filter(str.strip, output_lines(process)):
            get_run_logger().info(text)
            last = text
        if code := process.wait():
            raise ProjectError(f"The judge broke off: {last or f'exit status {code}'}")
    return decide(json.loads(out.read_text("utf-8")), read(workspace.folder))


def decide(figures: dict[str, Any], params: dict[str, Any]) -> Verdict:
    """The verdict that ``retrain.*`` make of the judge's figures."""
    if "incomparable" in figures:
        return Verdict(False, figures["incomparable"])
    gain, metric = figures["gain"], figures["metric"]
    least, most = params["retrain.min_gain"], params["retrain.max_label_drop"]
    said = (
        f"{metric} {figures['challenger'][metric]:.3f} on {figures['rows']:,} photos, "
        f"{gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f}) over the model in use"
    )
    reasons = []
    if not gain["low"] > least:
        reasons.append(f"the gain is not surely above {least:g}")
    for label, each in figures["labels"].items():
        if (drop := each["champion"] - each["challenger"]) > most:
            reasons.append(f"F1 of {label} falls by {drop:.3f}, more than {most:g}")
    return Verdict(not reasons, "; ".join([said, *reasons]), figures)


@task(cache_policy=NO_CACHE, persist_result=False)
def promote(registry: Registry, rev: str, base: str, message: str) -> Version:
    return registry.promote(rev, base, message)


def _markdown(name: str, verdict: Verdict, champion: Version) -> str:
    """What the run found, for the page of its artifact."""
    outcome = "promoted" if verdict.promoted else "not promoted"
    text = f"# {name}: {outcome}\n\n{verdict.reason}.\n\n"
    text += f"In use: **{champion.name}**, {champion.message}.\n"
    if verdict.figures is None:
        return text
    figures = verdict.figures
    sides = (figures["champion"], figures["challenger"])
    text += "\n| | in use | new |\n|---|---|---|\n"
    text += "".join(f"| {key} | {sides[0][key]:.3f} | {sides[1][key]:.3f} |\n" for key in sides[0])
    text += "\n| label | photos | F1 in use | F1 new |\n|---|---|---|---|\n"
    for label, each in figures["labels"].items():
        text += (
            f"| {label} | {each['count']} | {each['champion']:.3f} | {each['challenger']:.3f} |\n"
        )
    return text + _drift(figures["drift"])


def _drift(drift: dict[str, Any]) -> str:
    """How the new photos differ from those before."""
    before, new = drift["photos"]["before"], drift["photos"]["new"]
    text = f"\n## New photos: {new:,}, beside {before:,}\n\n| | before | new |\n|---|---|---|\n"
    rows = {f"rate of {label}": rates for label, rates in drift["label_rates"].items()}
    rows["words that the model in use does not know"] = drift["unknown_words"]
    for what, values in rows.items():
        cells = ("" if values[s] is None else f"{values[s]:.1%}" for s in ("before", "new"))
        text += f"| {what} | {' | '.join(cells)} |\n"
    sizes = (drift["median_size"][side] for side in ("before", "new"))
    cells = ("" if size is None else f"{size[0]:.0f} × {size[1]:.0f}" for size in sizes)
    text += f"| median size in pixels | {' | '.join(cells)} |\n"
    for key, what in (("new_labels", "New labels"), ("gone_labels", "Labels that are gone")):
        if drift[key]:
            text += f"\n{what}: {', '.join(drift[key])}.\n"
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.retrain",
        description="Retrain where something is new; promote the model only if it is better.",
    )
    parser.add_argument("-f", "--force", action="store_true", help="even where nothing changed")
    try:
        state = retrain(**vars(parser.parse_args(arguments)), return_state=True)
    except (RuntimeError, httpx.HTTPError) as error:  # Prefect's own; of the flow, it makes a state
        sys.exit(
            f"retrain: the Prefect server did not answer ({error}), so how this run ended is not "
            "known there; what is in use: python -m flows.registry"
        )
    if not state.is_completed():
        sys.exit(f"retrain: {state.message}")
    print(f"retrain: {state.name.lower()}: {state.message}")


if __name__ == "__main__":
    main()
