"""DVC and Git: the graph of stages, a run of it line by line, the metrics, experiments and what
they left behind, caches and remotes.

The one package that touches DVC's Python API and command line. Runs happen in a child process,
``dvc repro``, ``dvc exp run`` or ``worker``; which stage a line of its output belongs to is read
off the lines that DVC itself prints.
"""

from experiments.dvc_project.errors import EndedEarly, ProjectError, Silent, Transient
from experiments.dvc_project.experiments import (
    WORKSPACE,
    Experiment,
    experiment_ref,
    experiments,
    locked_outputs,
)
from experiments.dvc_project.git import git, git_file, git_folder, git_or_none, head, identity
from experiments.dvc_project.output import FROZEN, RESTORED, UNCHANGED, Line, output_lines
from experiments.dvc_project.processes import check_room, child_process, locked_file
from experiments.dvc_project.project import Project, open_project, sources, stage_names
from experiments.dvc_project.queue import Queue, hydra
from experiments.dvc_project.remotes import (
    check_out,
    check_outputs,
    fetch,
    is_as_added,
    push,
    share_cache,
    uncached_outputs,
    update,
)

__all__ = [
    "FROZEN",
    "RESTORED",
    "UNCHANGED",
    "WORKSPACE",
    "EndedEarly",
    "Experiment",
    "Line",
    "Project",
    "ProjectError",
    "Queue",
    "Silent",
    "Transient",
    "check_out",
    "check_outputs",
    "check_room",
    "child_process",
    "experiment_ref",
    "experiments",
    "fetch",
    "git",
    "git_file",
    "git_folder",
    "git_or_none",
    "head",
    "hydra",
    "identity",
    "is_as_added",
    "locked_file",
    "locked_outputs",
    "open_project",
    "output_lines",
    "push",
    "share_cache",
    "sources",
    "stage_names",
    "uncached_outputs",
    "update",
]
