"""Experiments, commits and the workspace: what DVC keeps of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.collect import collect_rev
from dvc.repo.experiments.refs import ExpRefInfo
from dvc.repo.experiments.serialize import ExpRange, ExpState
from dvc.scm import resolve_rev
from dvc.stage import PipelineStage
from dvc.utils.serialize import parse_yaml

from experiments.dvc_project.errors import ProjectError
from experiments.dvc_project.figures import figures, holds_figures
from experiments.dvc_project.git import git_file, head
from experiments.dvc_project.output import last_words
from experiments.sources import listed
from stages.params import flatten

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Experiment:
    """An experiment, a commit or the workspace, and what DVC keeps of it.

    Attributes:
        rev: its commit, or ``workspace``.
        params: by key, ``train.lr``.
        metrics: content by path, of the files of figures that go with ``params``: all that
            stages write as JSON for Git, not only what DVC shows as metrics.
        outdated: by path, why a file does not: what changed since it was written.
        outputs: hash by path, of the outputs in DVC's cache.
        problem: why there is no result at all; empty where there may be one.
    """

    name: str
    rev: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    outdated: dict[str, str]
    outputs: dict[str, str]
    problem: str = ""


def experiments(root: Path, names: Sequence[str] = ()) -> list[Experiment]:
    """What DVC keeps of experiments, one for each name, in their order.

    Args:
        names: of experiments, branches, tags, commits, or ``workspace``; one that stands for
            nothing comes back with that as its problem. None at all: the experiments of the
            current commit, the queued and failed ones too, and the workspace.

    Raises:
        ProjectError: ``root`` is in no DVC project, or that has no Git commit.
    """
    try:
        with Repo(root) as repo:
            head(root)
            workspace, commit = repo.experiments.show(hide_workspace=False)
            by_name: dict[str, Experiment] = {}
            # Those that succeeded come first: an earlier failure of the same name is past.
            for run in commit.experiments or []:
                state = run.revs[0]
                name = run.name or state.name or state.rev[:7]
                if name not in by_name:
                    by_name[name] = of_state(repo, name, state, _problem(run))
            by_name[WORKSPACE] = of_state(repo, WORKSPACE, workspace)
            if not names:
                return list(by_name.values())
            return [by_name.get(name) or _of_revision(repo, name) for name in dict.fromkeys(names)]
    except DvcException as error:
        raise ProjectError(str(error)) from error


def experiment_ref(base: str, name: str) -> str:
    """Where Git keeps the experiment ``name`` that began at the commit ``base``."""
    return str(ExpRefInfo(base, name))


def locked_outputs(root: Path, rev: str) -> dict[str, str | None]:
    """By path, the hash of each output, as ``dvc.lock`` of the commit ``rev`` has it."""
    content = parse_yaml(git_file(root, rev, "dvc.lock") or "", "dvc.lock")
    stages = (content or {}).get("stages", {}).values()
    return {out["path"]: out.get("md5") for stage in stages for out in stage.get("outs", ())}


def _of_revision(repo: Repo, name: str) -> Experiment:
    try:
        return of_state(repo, name, collect_rev(repo, resolve_rev(repo.scm, name)))
    except DvcException:
        why = "there is no experiment, branch, tag or commit of this name"
        return Experiment(name, name, {}, {}, {}, {}, why)


def of_state(repo: Repo, name: str, state: ExpState, problem: str = "") -> Experiment:
    """What DVC has collected of a commit, as an experiment of that name."""
    if state.error and not problem:
        problem = state.error.msg
    if state.data is None:
        return Experiment(name, state.rev, {}, {}, {}, {}, problem)
    params = {
        key: value
        for file in state.data.params.values()
        for key, value in flatten(file.get("data", {})).items()
    }
    # What has no result shows the figures of the commit that it began at.
    outdated = {} if problem else _outdated(repo, state.rev)
    metrics = {} if problem else figures(repo, state.rev, outdated)
    outputs = {path: out.hash for path, out in state.data.outs.items() if out.hash}
    return Experiment(name, state.rev, params, metrics, outdated, outputs, problem)


def _problem(run: ExpRange) -> str:
    """Why an experiment has no result: it waits, runs or failed; empty for one that ended well."""
    if run.executor is None or run.executor.state == "success":
        return ""
    if run.executor.state != "failed":
        return f"is {run.executor.state}"
    try:
        log = Path(run.executor.local.log).read_text("utf-8", "replace")
    except (AttributeError, TypeError, OSError):
        return "failed, and its log is gone"
    return last_words(log.splitlines())


def _outdated(repo: Repo, rev: str) -> dict[str, str]:
    """The metrics files that do not go with the parameters of ``rev``, and what changed since.

    Judged by dvc.lock alone, so that it holds for commits whose outputs are not in the workspace:
    a stage is outdated when its command or parameters are others than those it ran with, or an
    output of another stage is another than the one it read, or one before it is outdated.
    """
    with repo.switch(rev):
        graph = repo.index.graph
        stages = [stage for stage in graph if isinstance(stage, PipelineStage)]
        made = {out.fs_path: out.hash_info for stage in graph for out in stage.outs}
        changed = {stage: why for stage in stages if (why := _why_outdated(stage, made))}
        outdated: dict[str, str] = {}
        for stage in stages:
            reasons = [
                changed[each] for each in (stage, *nx.descendants(graph, stage)) if each in changed
            ]
            if reasons:
                outs = [out for out in stage.outs if holds_figures(out)]
                outdated |= {str(out.def_path): "; ".join(reasons) for out in outs}
        return outdated


def _why_outdated(stage: PipelineStage, made: dict[str, Any]) -> str:
    """What the stage did not run with; empty where there is nothing.

    Args:
        made: the hash of each output that a stage makes, by its full path.
    """
    changed = ["its command"] if stage.cmd_changed else []
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            for path, keys in dep.status().items():
                changed += keys if isinstance(keys, dict) else [path]
        elif dep.fs_path in made and dep.hash_info != made[dep.fs_path]:
            changed.append(dep.def_path)
    return f"{stage.addressing} did not run since {listed(changed)} changed" if changed else ""
