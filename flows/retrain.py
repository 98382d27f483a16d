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
from prefect.states import Completed

from flows.dvc_project import (
    Project,
    ProjectError,
    Transient,
    fetch,
    leashed,
    output_lines,
    push,
)
from flows.plan import read
from flows.registry import MODEL, Registry, Version
from flows.reproduce import failure, run_stages
from flows.retries import told
from flows.telling import SKIPPED, page
from flows.workspace import Workspace

# What the judge is given of the model in use; it finds the new one in the workspace.
JUDGED = ("models/network", "models/decision.json", "data/records.parquet", "data/folds.parquet")


@dataclass(frozen=True)
class Verdict:
    """Whether the new model takes the place of the one in use, and why or why not.

    ``figures`` are those of ``stages.judge``; None where the two could not be compared.
    """

    promoted: bool
    reason: str
    figures: dict[str, Any] | None = None


@flow(description="Retrains where something is new; promotes the model only if it is better.")
@told
def retrain(force: bool = False) -> State:
    """Retrains the DVC project in the current folder at the commit that is checked out.

    Works in a clone, as a DVC experiment named after the time; the checkout stays as it is. Ends as
    Skipped where neither photos nor code nor parameters changed since the last time.

    Args:
        force: Retrain even where nothing changed.
    """
    log = get_run_logger()
    root = Path.cwd()
    registry = Registry(root)
    # DVC names stages as they are seen from the current folder.
    with Workspace(root, read(root)["ingest.root"]) as workspace, chdir(workspace.folder):
        found = challenger(workspace, registry, force)
        if found is None:
            return Completed(name=SKIPPED, message="Nothing is new since the last retraining")
        name, rev = found
        champion = registry.champion()
        if champion and registry.is_same(champion.rev, rev):
            # Forced, or a run that promoted it was killed before it had taken that down.
            workspace.keep(rev)
            said = f"{name} came out as {champion.name}, the {MODEL} in use"
            return Completed(name=SKIPPED, message=said)
        verdict = judge(workspace, champion)
        log.info("%s: %s", name, verdict.reason)
        if verdict.promoted:
            promote(registry, workspace, rev, f"Promote {name}\n\n{verdict.reason}")
        workspace.keep(rev)
        text = page(root, name, verdict.reason, verdict.figures, champion, rev, registry.champion())
        create_markdown_artifact(text, key="retrain", description=verdict.reason)
    return Completed(
        name="Promoted" if verdict.promoted else "Refused", message=f"{name}: {verdict.reason}"
    )


def challenger(workspace: Workspace, registry: Registry, force: bool) -> tuple[str, str] | None:
    """The name and the commit of what is to be judged; None where nothing is new.

    What ran and still waits for its verdict or promotion is not run again, even by ``force``.
    """
    project = Project(workspace.folder, held=workspace.claim, repo=workspace.repo)
    is_stale = project.is_stale()
    if not is_stale and (unfinished := workspace.unfinished()):
        get_run_logger().info("%s ran before, and was not judged to the end", unfinished[0])
        return unfinished
    if not (is_stale or force or registry.is_empty()):
        return None
    name = f"{datetime.now():%Y-%m-%d-%H%M%S}"
    states = run_stages(project, force=force, name=name)
    if failed := failure(project, states):
        raise ProjectError(failed)
    project.check_sources()
    return name, workspace.result(name)


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="judge")
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
        f"{metric} {figures['challenger'][metric]['value']:.3f} on {figures['rows']:,} photos, "
        f"{gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f}) over the model in use"
    )
    reasons = []
    if not gain["low"] > least:
        reasons.append(f"the gain is not surely above {least:g}")
    for label, each in figures["labels"].items():
        if (drop := each["champion"]["value"] - each["challenger"]["value"]) > most:
            reasons.append(f"F1 of {label} falls by {drop:.3f}, more than {most:g}")
    return Verdict(not reasons, "; ".join([said, *reasons]), figures)


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="promote")
def promote(registry: Registry, workspace: Workspace, rev: str, message: str) -> Version:
    """Puts the model in the workspace in use, once the remote has it, where there is one.

    Raises Transient where the remote is out of reach or fails midway. The model in use stays, and
    the next run judges and pushes this one again.
    """
    try:
        remote = push(workspace.folder, workspace.claim)
    except Transient as error:
        raise Transient(
            f"{error}. The new model is better, but is not in use before the remote has it: the "
            "next run sends the rest"
        ) from None
    if remote:
        get_run_logger().info("The remote %s has the model and all that it was made from", remote)
    return registry.promote(rev, workspace.began(rev), message)


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
