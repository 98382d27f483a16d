"""Retraining on schedule: what is new is learnt, and put in use only when it is better.

``python -m flows.retrain [--force]``
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir
from datetime import datetime
from pathlib import Path

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from experiments.dvc_project import (
    Project,
    ProjectError,
    Silent,
    Transient,
    child_process,
    output_lines,
    push,
)
from experiments.plan import PATIENCE, read
from experiments.registry import Registry, Version
from experiments.sources import listed
from experiments.verdict import Verdict, decide, fetch_judged, same_as
from experiments.verdict_page import page
from experiments.workspace import Workspace
from flows.command import run
from flows.reproduce import failure, run_stages
from flows.retries import failed_or_retried
from stages import printable
from stages.markdown import plain

SKIPPED = "Skipped"


@flow(description="Retrains where something is new; promotes the model only if it is better.")
@failed_or_retried
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
    with Workspace(root) as workspace, chdir(workspace.folder):
        for remark in (remarks := [*map(printable, remarks_on(workspace))]):
            log.warning(remark)
        new = challenger(workspace, registry, force)
        if new is None:
            return Completed(name=SKIPPED, message="Nothing is new since the last retraining")
        name, rev = new
        champion = registry.champion()
        if same := same_as(workspace, rev, champion, force):
            # Also forced, or a run that promoted it was killed before it had recorded that.
            workspace.mark_judged(rev)
            return Completed(name=SKIPPED, message=f"{name} came out as {same}")
        verdict = judge(workspace, champion)
        log.info("%s: %s", name, verdict.reason)
        if verdict.promoted:
            by = f"Run: {runtime.flow_run.name} {runtime.flow_run.id}"
            promote(registry, workspace, rev, f"Promote {name}\n\n{verdict.reason}\n\n{by}")
        workspace.mark_judged(rev)
        now = registry.champion()
        assert now is not None
        text = page(root, name, verdict.reason, verdict.figures, champion, rev, now, remarks)
        create_markdown_artifact(text, key="retrain", description=plain(verdict.reason))
    return Completed(
        name="Promoted" if verdict.promoted else "Refused", message=f"{name}: {verdict.reason}"
    )


def remarks_on(workspace: Workspace) -> Iterator[str]:
    """How the sources of a retraining differ from what people may expect, a sentence each."""
    if workspace.uncommitted:
        yield (
            f"What is retrained is the commit {workspace.base[:7]}, and the checkout differs from "
            f"it: {', '.join(workspace.uncommitted)}"
        )
    if workspace.unreadable:
        yield f"Set aside, since it cannot be read: {listed(workspace.unreadable)}"


def challenger(workspace: Workspace, registry: Registry, force: bool) -> tuple[str, str] | None:
    """The name and the commit of what is to be judged; None where nothing is new.

    What ran and still waits for its verdict or promotion is not run again, even by ``force``. That
    the new model could be compared and promoted is seen to before it is trained.
    """
    project = Project(workspace.folder, lock=workspace.lock, repo=workspace.repo)
    is_stale = project.is_stale()
    if not is_stale and (unfinished := workspace.unfinished()):
        get_run_logger().info("%s ran before, and was not judged to the end", unfinished[0])
        return unfinished
    if not (is_stale or force or registry.is_empty()):
        return None
    registry.tip()
    if champion := registry.champion():
        fetch_judged(workspace, champion)
    name = workspace.new_name(f"{datetime.now():%Y-%m-%d-%H%M%S}")
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
    folder = fetch_judged(workspace, champion)
    out = workspace.scratch / "verdict.json"
    command = [sys.executable, "-m", "evaluation.judge", str(folder), f"--out={out}"]
    options = {"cwd": workspace.folder, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    last = ""
    params = read(workspace.folder)
    with child_process(command, options, workspace.lock) as (process, _):
        lines = output_lines(process, params.get(PATIENCE), of_stage=True)
        try:
            for text in filter(str.strip, lines):
                get_run_logger().info(text)
                last = text
        except Silent as error:
            raise ProjectError(f"The judge broke off: {error}") from None
        if code := process.wait():
            raise ProjectError(f"The judge broke off: {last or f'exit status {code}'}")
    return decide(json.loads(out.read_text("utf-8")), params)


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="promote")
def promote(registry: Registry, workspace: Workspace, rev: str, message: str) -> Version:
    """Puts the model in the workspace in use, once the remote has it, where there is one.

    Raises Transient where the remote is out of reach or fails midway. The model in use stays, and
    the next run judges and pushes this one again.
    """
    try:
        remote = push(workspace.folder, workspace.lock)
    except Transient as error:
        raise Transient(
            f"{error}. The new model is better, but is not in use before the remote has it: the "
            "next run sends the rest"
        ) from None
    if remote:
        get_run_logger().info("The remote %s has the model and all that it was made from", remote)
    return registry.promote(rev, workspace.base_of(rev), message)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.retrain",
        description="Retrain where something is new; promote the model only if it is better.",
    )
    parser.add_argument("-f", "--force", action="store_true", help="even where nothing changed")
    state = run(retrain, **vars(parser.parse_args(arguments)))
    if not state.is_completed():
        sys.exit(printable(f"retrain: {state.message}"))
    print(printable(f"retrain: {str(state.name).lower()}: {state.message}"))


if __name__ == "__main__":
    main()
