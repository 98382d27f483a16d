"""The stages of a project: their graph, a run of them line by line, the metrics."""

import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from dvc.dependency import ParamsDependency, loads_from
from dvc.exceptions import DvcException
from dvc.ignore import DvcIgnorePatterns
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage import PipelineStage
from dvc.stage.cache import _get_stage_hash
from dvc.utils.serialize import load_yaml

from experiments.dvc_project.errors import ProjectError, Silent, Transient
from experiments.dvc_project.figures import figures
from experiments.dvc_project.output import (
    ERROR,
    EXPERIMENT,
    STAGE_END,
    SUPPORT,
    UNCHANGED,
    Line,
    mark,
    output_lines,
)
from experiments.dvc_project.processes import dvc
from experiments.sources import complaint, listed, unreadable
from stages.files import digest


class Project:
    """The DVC project in the folder ``root``, and the stages that ``targets`` need.

    Args:
        targets: what ``dvc repro`` takes; none at all stands for the whole of ``dvc.yaml``.
        lock: a file that stays open as long as what ``run`` starts lives, even where this process
            is killed.
        repo: the project where it is open already, which spares reading it once more.

    Attributes:
        upstream: for each stage, the stages it depends on.
        reads: for each stage, the parameters it lists.
        experiment: the name of the experiment that ``run`` makes, as soon as it has one.

    Raises:
        ProjectError: ``root`` is no DVC project, or has no such target.
    """

    def __init__(
        self,
        root: Path,
        targets: Sequence[str] = (),
        lock: IO[str] | None = None,
        repo: Repo | None = None,
    ) -> None:
        self.root = root.resolve()
        self.targets = list(targets)
        self._lock = lock
        self._sources: dict[str, Any] = {}
        self.experiment: str | None = None
        self._read(repo)

    def _read(self, repo: Repo | None = None) -> None:
        try:
            self._repo = repo or Repo(self.root)
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
        self.reads = {
            stage.addressing: [key for dep in stage.params for key in dep.params]
            for stage in stages
        }

    def run(
        self,
        overrides: Sequence[str] = (),
        force: bool = False,
        name: str | None = None,
        patience: float | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> Generator[Line, None, None]:
        """Reproduces the targets and yields the output as it comes.

        The lines of a stage follow each other, and nothing comes after a stage that fails. Closing
        or interrupting the generator ends the run with every process of it.

        Args:
            overrides: like ``train.lr=5e-4``; with any, the run is an experiment.
            force: run what did not change, too.
            name: of the experiment; with neither this nor overrides, the run is in place.
            patience: minutes after which a stage that says nothing fails; None: never.
            before: called where something is to run.

        Raises:
            ProjectError: DVC stops outside of any stage; Transient where another DVC is at work.
        """
        if not self.is_stale() and not (overrides or force or name):
            # DVC would find the same, but takes longer to start than to find it.
            for stage in self._stages:
                yield Line(stage, f"Stage '{stage}' didn't change, skipping", "cached", UNCHANGED)
            return
        before()
        self._sources = {path: self._state(path) for path in sources(self._repo)}
        command = ["exp", "run"] if overrides or name else ["repro"]
        command += [f"--name={name}"] if name else []
        command += [f"--set-param={override}" for override in overrides]
        command += ["--force"] if force else []
        for line in self._dvc([*command, "--", *self.targets], patience):
            if line.outcome == "ran" and line.stage:
                why = "forced" if force else self._changes(line.stage)
                yield Line(line.stage, line.text, line.outcome, why)
            else:
                yield line

    def check_sources(self) -> None:
        """Raises Transient where a file that no stage makes changed while ``run`` read it.

        DVC records what a file is when the stage has ended, and would never look at the change
        again; so what it remembers of that stage is forgotten, and the next run runs it anew.
        """
        changed = [path for path, was in self._sources.items() if self._state(path) != was]
        if not changed:
            return
        with Repo(self.root) as repo:
            for stage in repo.index.stages:
                read = stage.addressing in self._stages and any(
                    dep.def_path in changed for dep in stage.deps
                )
                if read and (key := _get_stage_hash(stage)):
                    shutil.rmtree(repo.stage_cache._get_cache_dir(key), ignore_errors=True)
        raise Transient(
            f"{listed(changed)} changed while it was read, so the result may be of neither state; "
            "run again when all is in its place"
        )

    def _state(self, path: str) -> Any:
        """What changes when the file or folder does; None where it is not there."""
        if not (self.root / path).exists():
            return None
        if os.path.isabs(path):
            return _stats(path, self.root)
        return hash_of(next(iter(self._stages.values())), path)

    def hashes(self) -> dict[str, str]:
        """By path, a hash of what stages depend on, or are defined by, and none of them makes."""
        stage = next(iter(self._stages.values()))
        there = [path for path in sources(self._repo) if (self.root / path).exists()]
        files = {each.path_in_repo for each in self._repo.index.stages}
        return {path: hash_of(stage, path) for path in there} | {
            path: digest(self.root / path) for path in sorted(files)
        }

    def metrics(self) -> dict[str, Any]:
        """The content of each file of figures in the workspace, by path; no unreadable ones."""
        with Repo(self.root) as repo:
            return figures(repo)

    def check_readable(self) -> None:
        """Raises ProjectError where DVC would wait without end, or fail, at what is no file."""
        ignored = self._repo.dvcignore.is_ignored_file
        paths = [each for path in sources(self._repo) for each in unreadable(self.root / path)]
        if wrong := complaint([each for each in paths if not ignored(str(each.path))]):
            raise ProjectError(wrong)

    def is_stale(self) -> bool:
        """Whether a stage would run.

        Raises ProjectError as ``check_readable``, Transient when another DVC is at work here.
        """
        self.check_readable()
        try:
            return bool(self._repo.status(targets=self.targets or None, with_deps=True))
        except LockError as error:
            raise Transient(str(error)) from error
        except DvcException as error:
            raise ProjectError(str(error)) from error

    def _changes(self, name: str) -> str:
        """What changed since the stage ran last, judged just before it runs again."""
        stage = self._stages[name]
        reasons = ["command changed"] if stage.cmd_changed else []
        for dep in stage.deps:
            for path, change in dep.status().items():
                changes = change if isinstance(change, dict) else {path: change}
                reasons += [f"{key} {how}" for key, how in changes.items()]
        # A dependency that a parameter names may be there twice.
        return listed(list(dict.fromkeys(reasons))) or "outputs missing or changed"

    def _dvc(self, arguments: list[str], patience: float | None) -> Iterator[Line]:
        """Runs DVC in a child process; yields its lines, with the stage each belongs to."""
        with dvc(self.root, arguments, self._lock) as process:
            stage = None
            try:
                for line in self._assign(process, patience):
                    stage = line.stage
                    yield line
            except Silent as error:
                yield Line(stage, str(error))
                yield Line(stage, f"failed to reproduce '{stage}'", "failed")

    def _assign(self, process: subprocess.Popen[bytes], patience: float | None) -> Iterator[Line]:
        stage: str | None = None
        begun: set[str | None] = set()
        errors: list[str] = []
        failed = False
        for text in output_lines(process, patience):
            head = self._head(text)
            if head and (head.outcome == "failed" or head.stage not in begun):
                stage, failed = head.stage, head.outcome == "failed"
                begun.add(head.stage)
                yield head
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

    def _head(self, text: str) -> Line | None:
        head = mark(text)
        return head if head and head.stage in self._stages else None


def sources(repo: Repo) -> list[str]:
    """Paths that stages depend on and none of them makes, such as code and photos."""
    stages = [stage for stage in repo.index.stages if isinstance(stage, PipelineStage)]
    made = {out.def_path for stage in stages for out in stage.outs}
    deps = [dep for stage in stages for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    return list(dict.fromkeys(dep.def_path for dep in deps if dep.def_path not in made))


def hash_of(stage: PipelineStage, path: str) -> str:
    """DVC's hash of a file or folder, as if ``stage`` depended on it.

    A dependency that dvc.lock does not know yet would be hashed as DVC 2 did.
    """
    (dep,) = loads_from(stage, [path])
    return str(dep.get_hash().value)


def _stats(path: str, root: Path) -> set[tuple[str, int, int, int]]:
    """Name, bytes, time (ns) and inode of each file in the folder ``path``.

    What .dvcignore names does not count: DVC itself does not apply that outside the repository.
    """
    ignore_file = root / ".dvcignore"
    lines = ignore_file.read_text("utf-8").splitlines() if ignore_file.exists() else []
    ignore = DvcIgnorePatterns([line for line in lines if not line.startswith("#")], path, os.sep)
    states = set()
    for folder, folders, files in os.walk(path):
        folders[:], files[:] = ignore(folder, folders, files)
        for name in files:
            with suppress(FileNotFoundError):
                stat = os.stat(os.path.join(folder, name))
                states.add((f"{folder}/{name}", stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return states


def open_project(root: Path) -> Repo:
    """The DVC project in ``root``, to be read once for all that is asked of it."""
    return Repo(root)


def stage_names(root: Path) -> list[str]:
    """The stages of ``dvc.yaml``, as it has them; one that stands for several has one name."""
    try:
        return list(load_yaml(root / "dvc.yaml").get("stages") or ())
    except (DvcException, OSError) as error:
        raise ProjectError(str(error)) from error
