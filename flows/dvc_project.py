"""What the flows know of DVC: the graph of stages, a run of it line by line, the metrics.

The one module that touches DVC's Python API and command line. Runs happen in a child process,
``dvc repro`` or ``dvc exp run``; which stage a line of its output belongs to is read off the
lines that DVC itself prints.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage import PipelineStage

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
SUPPORT = "Having any troubles?"  # DVC's advertisement after an unexpected error

IDENTITY = {"name": "Tagloom", "email": "tagloom@localhost"}
SHOWN_CHANGES = 4


class ProjectError(Exception):
    """DVC stopped outside of any stage, most often before anything ran; the text says why."""


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


class Project:
    """The DVC project in the folder ``root``, and the stages that ``targets`` need.

    ``targets`` are what ``dvc repro`` takes; none at all stands for the whole of ``dvc.yaml``.
    ``upstream`` has for each stage the stages it depends on. ``experiment`` is the name of the
    experiment that ``run`` makes. Raises ProjectError when ``root`` is no DVC project, or has no
    such target.
    """

    def __init__(self, root: Path, targets: Sequence[str] = ()) -> None:
        self.root = root.resolve()
        self.targets = list(targets)
        self.experiment: str | None = None
        self._read()

    def _read(self) -> None:
        try:
            self._repo = Repo(self.root)
            if Path(self._repo.root_dir) != self.root:
                raise ProjectError(f"{self.root} is not the project: go to {self._repo.root_dir}")
            graph = get_active_graph(self._repo.index.graph)
            steps = plan_repro(graph, collect_stages(self._repo, self.targets or ["dvc.yaml"]))
        except DvcException as error:
            raise ProjectError(str(error)) from error
        stages = [step for step in steps if isinstance(step, PipelineStage)]
        self._stages = {stage.addressing: stage for stage in stages}
        self.upstream = {
            stage.addressing: [other.addressing for other in graph[stage] if other in stages]
            for stage in stages
        }

    def run(self, overrides: Sequence[str] = (), force: bool = False) -> Iterator[Line]:
        """Reproduces the targets and yields the output as it comes.

        With ``overrides`` (``train.lr=5e-4``) as an experiment, else in place; with ``force``
        also what did not change. The lines of a stage follow each other, and nothing comes after
        a stage that fails. Raises ProjectError when DVC stops for another reason. Closing or
        interrupting the generator ends the run with every process of it.
        """
        if not (overrides or force or self._stale()):
            # DVC would find the same, but takes longer to start than to find it.
            for stage in self._stages:
                yield Line(stage, f"Stage '{stage}' didn't change, skipping", "cached", UNCHANGED)
            return
        command = ["exp", "run"] if overrides else ["repro"]
        command += [f"--set-param={override}" for override in overrides]
        command += ["--force"] if force else []
        for line in self._dvc([*command, "--", *self.targets]):
            if line.outcome == "ran":
                why = "forced" if force else self._changes(line.stage)
                yield Line(line.stage, line.text, line.outcome, why)
            else:
                yield line

    def metrics(self) -> dict[str, Any]:
        """The content of each metrics file in the workspace, by path; without unreadable ones."""
        with Repo(self.root) as repo:
            (workspace,) = repo.metrics.show(hide_workspace=False).values()
        files = workspace.get("data", {})
        return {path: file["data"] for path, file in files.items() if "data" in file}

    def _stale(self) -> bool:
        try:
            return bool(self._repo.status(targets=self.targets or None, with_deps=True))
        except DvcException as error:
            raise ProjectError(str(error)) from error

    def _changes(self, name: str) -> str:
        """What changed since the stage ran last, judged just before it runs again."""
        stage = self._stages[name]
        found = ["command changed"] if stage.cmd_changed else []
        for dep in stage.deps:
            for path, change in dep.status().items():
                changes = change if isinstance(change, dict) else {path: change}
                found += [f"{key} {how}" for key, how in changes.items()]
        if len(found) > SHOWN_CHANGES:
            found[SHOWN_CHANGES:] = [f"{len(found) - SHOWN_CHANGES} more"]
        return ", ".join(found) or "outputs missing or changed"

    def _dvc(self, arguments: list[str]) -> Iterator[Line]:
        """Runs DVC in a child process; yields its lines, with the stage each belongs to."""
        options = {
            "cwd": self.root,
            "env": _environment(self.root),
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }
        with _leashed([sys.executable, "-m", "dvc", *arguments], options) as process:
            yield from self._assign(process)

    def _assign(self, process: subprocess.Popen[bytes]) -> Iterator[Line]:
        stage: str | None = None
        begun: set[str] = set()
        failed, errors = False, []
        for raw in process.stdout:
            # Of a progress bar that redraws its line, the last drawing.
            text = raw.decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2]
            mark = self._mark(text)
            if mark and (mark.outcome == "failed" or mark.stage not in begun):
                stage, failed = mark.stage, mark.outcome == "failed"
                begun.add(stage)
                yield mark
                continue
            if STAGE_END.fullmatch(text):
                stage = None
            elif stage is None and (errors or text.startswith(ERROR)):
                errors.append(text.removeprefix(ERROR))
            elif match := EXPERIMENT.fullmatch(text):
                self.experiment = match[1]
                self._read()  # parameters may shape the graph: foreach, matrix, ${…}
            if text.strip():
                yield Line(stage, text)
        code = process.wait()
        if code and not failed:
            died = f"dvc ended with exit status {code}"
            if stage is None:
                raise ProjectError("\n".join(errors).partition(SUPPORT)[0].strip() or died)
            yield Line(stage, died, "failed")

    def _mark(self, text: str) -> Line | None:
        for pattern, outcome, reason in MARKS:
            if (match := pattern.fullmatch(text)) and match[1] in self._stages:
                return Line(match[1], text.removeprefix(ERROR), outcome, reason)
        return None


def _environment(root: Path) -> dict[str, str]:
    """The child's environment: this Python first, lines unbuffered, and a Git identity.

    An experiment is a commit, so without an identity DVC would refuse it. The one that Git has
    is handed on, because the libraries inside DVC do not look everywhere that Git looks.
    """
    folder = os.path.dirname(sys.executable)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(filter(None, [folder, os.environ.get("PATH")])),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }
    for key, default in IDENTITY.items():
        git = subprocess.run(
            ["git", "config", f"user.{key}"], cwd=root, capture_output=True, text=True, check=False
        )
        for role in ("AUTHOR", "COMMITTER"):
            environment.setdefault(f"GIT_{role}_{key.upper()}", git.stdout.strip() or default)
    return environment


@contextmanager
def _leashed(command: list[str], options: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the command in a process group of its own, which ends with the block at the latest.

    When the block raises, the whole group has ended by the time the exception goes on. When this
    process is killed, ``leash`` ends the group all the same.
    """
    leash = subprocess.Popen(
        [sys.executable, "-I", Path(__file__).with_name("leash.py")],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, not for the leash
    )
    with leash, subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            leash.stdin.write(b"%d\n" % process.pid)
            leash.stdin.flush()
            yield process
            leash.stdin.write(b"done\n")
        finally:
            leash.stdin.close()
