"""What the flows know of DVC: the graph of stages, a run of it line by line, the metrics, and
what experiments were and left behind.

The one module that touches DVC's Python API and command line. Runs happen in a child process,
``dvc repro``, ``dvc exp run`` or this file; which stage a line of its output belongs to is read
off the lines that DVC itself prints.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import networkx as nx
import psutil
from dvc.config import Config
from dvc.dependency import ParamsDependency, loads_from
from dvc.dirs import site_cache_dir
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.experiments.collect import collect_rev
from dvc.repo.experiments.refs import ExpRefInfo
from dvc.repo.experiments.serialize import ExpRange, ExpState
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.scm import resolve_rev
from dvc.stage import PipelineStage
from dvc.stage.cache import _get_stage_hash
from dvc.utils.flatten import flatten
from dvc.utils.serialize import load_yaml, parse_yaml

if TYPE_CHECKING:  # slow, and only the queue's own program needs them
    from dvc_task.proc.manager import ProcessManager
    from dvc_task.proc.process import ProcessInfo

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
UNEXPECTED = "unexpected error - "  # one that DVC has no words for
SUPPORT = "Having any troubles?"  # DVC's advertisement after an unexpected error

IDENTITY = {"name": "Tagloom", "email": "tagloom@localhost"}
SHOWN_CHANGES = 4
LEAST_ROOM, NO_ROOM = 8.0, 0.5  # MB free: to begin with, and to go on
LOOK = 1.0  # seconds between two looks at the disk
CLAIM = 20.0  # seconds for what a sweep that was killed has left running to end
WORKSPACE = "workspace"


class ProjectError(Exception):
    """DVC stopped outside of any stage, most often before anything ran; the text says why."""


class Transient(ProjectError):
    """What may pass by itself: a lock that is held, a remote out of reach. Deployments retry it."""


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


@dataclass(frozen=True)
class Experiment:
    """An experiment, a commit or the workspace, and what DVC keeps of it.

    Attributes:
        rev: its commit, or ``workspace``.
        params: by key, ``train.lr``.
        metrics: content by path, of the files that go with ``params``.
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


class Project:
    """The DVC project in the folder ``root``, and the stages that ``targets`` need.

    ``targets`` are what ``dvc repro`` takes; none at all stands for the whole of ``dvc.yaml``.
    ``upstream`` has for each stage the stages it depends on, ``reads`` the parameters it lists.
    ``experiment`` is the name of the experiment that ``run`` makes. Raises ProjectError when
    ``root`` is no DVC project, or has no such target. ``held`` is a file that stays open as long
    as what ``run`` starts lives, even where this process is killed.
    """

    def __init__(
        self, root: Path, targets: Sequence[str] = (), held: IO[str] | None = None
    ) -> None:
        self.root = root.resolve()
        self.targets = list(targets)
        self._held = held
        self._sources: dict[str, str] = {}
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
        self.reads = {
            stage.addressing: [key for dep in stage.params for key in dep.params]
            for stage in stages
        }

    def run(
        self, overrides: Sequence[str] = (), force: bool = False, name: str | None = None
    ) -> Iterator[Line]:
        """Reproduces the targets and yields the output as it comes.

        With ``overrides`` (``train.lr=5e-4``) or a ``name`` as an experiment, else in place; with
        ``force`` also what did not change. The lines of a stage follow each other, and nothing
        comes after a stage that fails. Raises ProjectError when DVC stops for another reason,
        Transient when another DVC is at work here. Closing or interrupting the generator ends the
        run with every process of it.
        """
        if not self.is_stale() and not (overrides or force or name):
            # DVC would find the same, but takes longer to start than to find it.
            for stage in self._stages:
                yield Line(stage, f"Stage '{stage}' didn't change, skipping", "cached", UNCHANGED)
            return
        self._sources = self._source_hashes()
        command = ["exp", "run"] if overrides or name else ["repro"]
        command += [f"--name={name}"] if name else []
        command += [f"--set-param={override}" for override in overrides]
        command += ["--force"] if force else []
        for line in self._dvc([*command, "--", *self.targets]):
            if line.outcome == "ran":
                why = "forced" if force else self._changes(line.stage)
                yield Line(line.stage, line.text, line.outcome, why)
            else:
                yield line

    def check_sources(self) -> None:
        """Raises Transient where a file that no stage makes changed while ``run`` read it.

        DVC takes down what a file is when the stage has ended, and would never look at the change
        again; so what it remembers of that stage is forgotten, and the next run runs it anew.
        """
        with Repo(self.root) as repo:
            stages = [stage for stage in repo.index.stages if stage.addressing in self._stages]
            changed = {
                dep.def_path: stage
                for stage in stages
                for dep in stage.deps
                if self._sources.get(dep.def_path) not in (None, dep.hash_info.value)
            }
            for stage in changed.values():
                if key := _get_stage_hash(stage):
                    shutil.rmtree(repo.stage_cache._get_cache_dir(key), ignore_errors=True)
        if changed:
            raise Transient(
                f"{_listed(list(changed))} changed while it was read, so the result may be of "
                "neither state; run again when all is in its place"
            )

    def _source_hashes(self) -> dict[str, str]:
        """By path, the hash of what stages depend on and none of them makes."""
        made = {out.def_path for stage in self._stages.values() for out in stage.outs}
        return {
            dep.def_path: dep.get_hash().value
            for stage in self._stages.values()
            for dep in stage.deps
            if not isinstance(dep, ParamsDependency) and dep.def_path not in made and dep.exists
        }

    def metrics(self) -> dict[str, Any]:
        """The content of each metrics file in the workspace, by path; without unreadable ones."""
        with Repo(self.root) as repo:
            (workspace,) = repo.metrics.show(hide_workspace=False).values()
        files = workspace.get("data", {})
        return {path: file["data"] for path, file in files.items() if "data" in file}

    def is_stale(self) -> bool:
        """Whether a stage would run. Raises Transient when another DVC is at work here."""
        try:
            return bool(self._repo.status(targets=self.targets or None, with_deps=True))
        except LockError as error:
            raise Transient(str(error)) from error
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
        return _listed(found) or "outputs missing or changed"

    def _dvc(self, arguments: list[str]) -> Iterator[Line]:
        """Runs DVC in a child process; yields its lines, with the stage each belongs to."""
        with _dvc(self.root, arguments, self._held) as process:
            yield from self._assign(process)

    def _assign(self, process: subprocess.Popen[bytes]) -> Iterator[Line]:
        stage: str | None = None
        begun: set[str] = set()
        failed, errors = False, []
        for text in output_lines(process):
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
        mark = _mark(text)
        return mark if mark and mark.stage in self._stages else None


class Queue:
    """The experiments of the commit that is checked out: those that were, and runs of new ones.

    They stand in DVC's queue (``dvc queue status``, ``dvc queue logs``), but it is not DVC's
    workers (``dvc queue start``) that run them. Those take an experiment off the queue before it
    is done, so that one whose worker is killed counts as running for ever and its result is never
    collected; several at a time disturb each other while they set up; they know nothing of GPUs;
    and they run what others have queued, too. Here each experiment has a process of its own. It
    goes through the steps of such a worker, and ends with this process at the latest.

    One at a time may be entered for a project; Transient otherwise.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._commit = git(self.root, "rev-parse", "--verify", "--quiet", "HEAD")
        if self._commit is None:
            raise ProjectError("An experiment begins at a commit, and Git has none here yet")
        self._leashes: list[IO[bytes]] = []
        self._stopped = False
        self._reading = threading.Lock()
        self._hashes: dict[str, str | None] = {}

    def __enter__(self) -> "Queue":
        folder = self.root / ".dvc" / "tmp"
        folder.mkdir(exist_ok=True)
        self._claim = (folder / "sweep.lock").open("w")
        deadline = time.monotonic() + CLAIM
        while True:
            try:
                fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self._claim.close()
                    raise Transient("Another sweep is running in this project") from None
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        """Ends what other threads run."""
        self._stopped = True
        for leash in self._leashes:
            leash.close()
        self._claim.close()

    def result(self, name: str) -> Experiment | None:
        """The experiment as it ended; None where it did not, or was not run at all."""
        ref = str(ExpRefInfo(self._commit, name))
        revision = git(self.root, "rev-parse", "--verify", "--quiet", ref)
        if revision is None:
            return None
        # Threads ask, and DVC does not say that they may.
        with self._reading, Repo(self.root) as repo:
            return _experiment(repo, name, collect_rev(repo, revision))

    def changes(self, experiment: Experiment) -> list[str]:
        """Paths that stages depend on, or are defined by, that are not as ``experiment`` had them.

        Files that Git has are compared with what it has: one that it does not track is not part
        of an experiment. The others, such as photos, with what dvc.lock says of them.
        """
        text = git(self.root, "show", f"{experiment.rev}:./dvc.lock") or ""
        sources = {
            dep["path"]: dep.get("md5")
            for name, stage in parse_yaml(text, "dvc.lock").get("stages", {}).items()
            for dep in stage.get("deps", ())
            if name in self._stages and dep["path"] not in self._outs
        }
        files = {stage.path_in_repo for stage in self._repo.index.stages}
        files |= sources.keys() & self._tracked
        found = git(
            self.root, "diff", "--name-only", "--relative", experiment.rev, "--", *sorted(files)
        )
        data = sources.keys() - files
        return [*(found or "").splitlines(), *(p for p in data if self._hash(p) != sources[p])]

    def add(self, experiments: Mapping[str, Mapping[str, Any]]) -> None:
        """Queues experiments: by name, the parameters that change, by key (``train.lr``).

        Each takes the place of others of its name, which waited, failed or left a result. Raises
        ProjectError where one cannot be queued; then none is.
        """
        overrides = {
            name: [f"{key}={hydra(value)}" for key, value in changed.items()]
            for name, changed in experiments.items()
        }
        with tempfile.TemporaryFile("w+") as file:
            json.dump(overrides, file)
            file.seek(0)
            with self._program(["queue"], file) as process:
                texts = list(output_lines(process))
                if process.wait():
                    errors = [text for text in texts if text.startswith(ERROR)] or texts[-1:]
                    raise ProjectError("\n".join(errors).removeprefix(ERROR))

    def run(self, name: str, variables: Mapping[str, str] | None = None) -> Iterator[Line]:
        """Runs the experiment that is queued as ``name``; yields its output as it comes.

        ``variables`` are added to its environment. Raises ProjectError with the reason when it
        fails or is stopped.
        """
        texts, stage = [], None
        with self._program(["run", name], subprocess.DEVNULL, **(variables or {})) as process:
            for text in output_lines(process):
                texts.append(text)
                mark = _mark(text)
                stage = mark.stage if mark else stage
                if text.strip():
                    yield mark or Line(stage, text)
            failed = process.wait()
        if self._stopped:
            raise ProjectError("stopped")
        if failed:
            raise ProjectError(_last_words(texts))

    @contextmanager
    def _program(
        self, arguments: list[str], stdin: IO[str] | int, **variables: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """This file as a program, in a child process."""
        options = {
            "cwd": self.root,
            "env": _environment(self.root) | variables,
            "stdin": stdin,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }
        # With -P, modules beside this file do not pass for packages of the same name. What a
        # sweep that was killed has left running holds the project until it has ended.
        command = [sys.executable, "-P", __file__, *arguments]
        with leashed(command, options, self._claim) as (process, leash):
            self._leashes.append(leash)
            if self._stopped:
                leash.close()
            yield process

    @cached_property
    def _repo(self) -> Repo:
        return Repo(self.root)

    @cached_property
    def _stages(self) -> dict[str, PipelineStage]:
        stages = [stage for stage in self._repo.index.stages if isinstance(stage, PipelineStage)]
        return {stage.addressing: stage for stage in stages}

    @cached_property
    def _outs(self) -> set[str]:
        return {out.def_path for stage in self._stages.values() for out in stage.outs}

    @cached_property
    def _tracked(self) -> set[str]:
        """What Git tracks: files, and the folders that hold them."""
        files = map(Path, (git(self.root, "ls-files", "-z") or "").split("\0"))
        return {str(path) for file in files for path in (file, *file.parents)}

    def _hash(self, path: str) -> str | None:
        if path not in self._hashes:
            (dep,) = loads_from(next(iter(self._stages.values())), [path])
            self._hashes[path] = dep.get_hash().value if dep.exists else None
        return self._hashes[path]


def hydra(value: Any) -> str:
    """A value of ``params.yaml``, no mapping, as ``dvc exp run -S key=…`` takes it.

    Raises ValueError for a text that DVC would not leave as it is.
    """
    if isinstance(value, list):
        return f"[{','.join(map(hydra, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    if "${" in value:
        raise ValueError(f"{value!r} cannot be set: DVC puts values of other parameters for ${{…}}")
    # In quotes a backslash counts only before a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (m[2] and r"\'"), value) + "'"


def experiments(root: Path, names: Sequence[str] = ()) -> list[Experiment]:
    """What ``names`` stand for: experiments, branches, tags, commits, or ``workspace``.

    None at all: the experiments of the current commit, the queued and failed ones too, and the
    workspace. A name that stands for nothing comes back with that as its problem. Raises
    ProjectError when ``root`` is in no DVC project, or that has no Git commit.
    """
    try:
        with Repo(root) as repo:
            states = repo.experiments.show(hide_workspace=False)
            if not states:
                raise ProjectError(f"{root} has no commit yet: an experiment begins at one")
            workspace, commit = states
            found: dict[str, Experiment] = {}
            # Those that succeeded come first: an earlier failure of the same name is past.
            for run in commit.experiments or []:
                state = run.revs[0]
                name = run.name or state.name or state.rev[:7]
                if name not in found:
                    found[name] = _experiment(repo, name, state, _problem(run))
            found[WORKSPACE] = _experiment(repo, WORKSPACE, workspace)
            if not names:
                return list(found.values())
            return [found.get(name) or _of_revision(repo, name) for name in dict.fromkeys(names)]
    except DvcException as error:
        raise ProjectError(str(error)) from error


def stage_names(root: Path) -> list[str]:
    """The stages of ``dvc.yaml``, as it has them; one that stands for several has one name."""
    try:
        return list(load_yaml(root / "dvc.yaml").get("stages") or ())
    except (DvcException, OSError) as error:
        raise ProjectError(str(error)) from error


def fetch(root: Path, rev: str, name: str, paths: Sequence[str], folder: Path) -> None:
    """Copies outputs of the commit ``rev``, from DVC's cache or remote, into ``folder``.

    Touches no file of the workspace. Raises ProjectError when one is not to be had, Transient when
    the remote cannot be read; ``name`` is what people call the commit.
    """
    check_room(root)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Repo(root) as repo:
            # Where the remote is, today's settings say. The commit's may be out of date or not go
            # with this machine's, and a path in them would be taken for one inside of Git.
            today = repo.config
            with repo.switch(rev):
                repo.config = today
                for path in paths:
                    _get(repo, path, folder, name)
    except DvcException as error:
        raise ProjectError(str(error)) from error


def _get(repo: Repo, path: str, folder: Path, name: str) -> None:
    try:
        repo.dvcfs.get(f"/{path}", str(folder / Path(path).name), recursive=True)
    except DvcException:
        raise
    except FileNotFoundError as error:
        raise ProjectError(
            f"{path} of {name} is neither in DVC's cache nor in a remote; run it again"
        ) from error
    except Exception as error:  # each kind of remote has its own
        # Its own text may hold a password, and logs show what an error came from.
        raise Transient(_public(f"{path} of {name} cannot be read: {error}")) from None


def check_room(root: Path, least: float = LEAST_ROOM) -> None:
    """Raises ProjectError where a disk that DVC writes to has less than ``least`` MB left."""
    for folder in (root, Path(site_cache_dir())):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        left = shutil.disk_usage(there).free / 2**20
        if left < least:
            raise ProjectError(f"The disk is full: {there} has {left:.1f} MB left; make room there")


def uncached_outputs(root: Path) -> list[str]:
    """Outputs that Git keeps, such as metrics; paths below ``root``."""
    with Repo(root) as repo:
        outs = [out for stage in repo.index.stages for out in stage.outs if not out.use_cache]
        return sorted(out.def_path for out in outs)


def share_cache(root: Path, clone: Path) -> None:
    """Gives ``clone`` the settings that only this machine has, and the cache, of ``root``."""
    local = root / ".dvc" / "config.local"
    if local.exists():
        shutil.copy(local, clone / ".dvc")
    with Repo(root) as repo, Config(str(clone / ".dvc")).edit("local") as settings:
        settings.setdefault("cache", {})["dir"] = repo.cache.local_cache_dir
        # A folder's path counts from the file that it stands in; and DVC reads nothing of a remote
        # of which this machine has a password, and the commit no address.
        for name, remote in repo.config["remote"].items():
            settings.setdefault("remote", {}).setdefault(name, {})["url"] = remote["url"]


def check_out(root: Path, held: IO[str] | None = None) -> None:
    """Brings outputs, and what DVC tracks, to where dvc.lock says they are.

    The remote is asked only for what the cache has not; Transient where it cannot be. What neither
    has is left out: the stage that makes it runs again.
    """
    try:
        with Repo(root) as repo:
            outs = [out for out in repo.index.outs if out.use_cache and out.hash_info]
            if outs:
                repo.checkout([out.fs_path for out in outs], force=True, allow_missing=True)
            missing = [out.def_path for out in outs if out.status()]
    except DvcException as error:
        raise ProjectError(str(error)) from error
    if missing:
        _transfer("dvc pull", root, ["pull", "--force", "--allow-missing", "--", *missing], held)


def update(root: Path, file: str, held: IO[str] | None = None) -> None:
    """Brings what ``file``, a ``.dvc`` file, tracks up to date, if it is an import.

    What was added by ``dvc add`` is to be there already. Raises Transient where it is not, or where
    the source of an import is out of reach; ProjectError where that is no full path.
    """
    try:
        with Repo(root) as repo:
            stage = repo.stage.load_one(str(root / file))
            missing = any(out.status() for out in stage.outs)
    except DvcException as error:
        raise ProjectError(str(error)) from error
    if stage.is_import:
        source = stage.deps[0].def_repo["url"] if stage.is_repo_import else stage.deps[0].def_path
        if not os.path.isabs(source) and ":" not in source:
            raise ProjectError(
                f"{file} imports from {source}, which is another place seen from a clone; import "
                "it by its full path"
            )
        _transfer(f"dvc update {file}", root, ["update", "--", file], held)
    elif missing:
        raise Transient(
            f"{file} tracks what is neither in DVC's cache nor in a remote: dvc push it from where "
            "it was added"
        )


def push(root: Path, held: IO[str] | None = None) -> str | None:
    """Sends what the default remote lacks of the outputs, and of what DVC tracks, there.

    Returns the remote's name; None where there is none. Raises Transient where the remote is out of
    reach or fails midway: what has arrived stays, and the next time the rest is sent. ProjectError
    where it is one that keeps versions itself.
    """
    with Repo(root) as repo:
        name = repo.config["core"].get("remote")
        settings = repo.config["remote"].get(name, {})
    if name is None:
        return None
    if settings.get("version_aware") or settings.get("worktree"):
        raise ProjectError(
            f"The remote {name} keeps versions itself (version_aware, worktree): what is pushed "
            "there changes dvc.lock, and a commit that has been judged cannot change any more"
        )
    _transfer(f"dvc push to the remote {name}", root, ["push"], held)
    return name


def _transfer(what: str, root: Path, arguments: list[str], held: IO[str] | None) -> None:
    """Runs a command of DVC's that talks to other places; Transient, with a reason, if it fails."""
    with _dvc(root, arguments, held) as process:
        errors = [text for text in output_lines(process) if text.startswith(ERROR)]
        if code := process.wait():
            # What went wrong with a file comes before how many files that was.
            said = [errors[0], *errors[1:][-1:]] if errors else []
            said = [each.removeprefix(ERROR).removeprefix(UNEXPECTED) for each in said]
            reason = "; ".join(said) or f"it ended with exit status {code}"
            raise Transient(_public(f"{what} failed: {reason}"))


def _public(text: str) -> str:
    """``text`` without the passwords in its addresses."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def experiment_ref(base: str, name: str) -> str:
    """Where Git keeps the experiment ``name`` that began at the commit ``base``."""
    return str(ExpRefInfo(base, name))


def _of_revision(repo: Repo, name: str) -> Experiment:
    try:
        return _experiment(repo, name, collect_rev(repo, resolve_rev(repo.scm, name)))
    except DvcException:
        why = "there is no experiment, branch, tag or commit of this name"
        return Experiment(name, name, {}, {}, {}, {}, why)


def _experiment(repo: Repo, name: str, state: ExpState, problem: str = "") -> Experiment:
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
    metrics = {
        path: file["data"]
        for path, file in state.data.metrics.items()
        if "data" in file and path not in outdated and not problem
    }
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
    return _last_words(log.splitlines())


def _last_words(log: list[str]) -> str:
    """The last line before DVC's own error, as a rule the stage's, and that error."""
    lines = [line.rstrip("\r").rpartition("\r")[2].strip() for line in log]
    lines = [line for line in lines if line]
    errors = [i for i, line in enumerate(lines) if line.startswith(ERROR)]
    if not errors:
        return f"failed; the last line of its log: {lines[-1]}" if lines else "failed"
    first = errors[0]
    error = lines[first].removeprefix(ERROR)
    return f"{lines[first - 1]} ({error})" if first else error


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
        outdated = {}
        for stage in stages:
            reasons = [
                changed[each] for each in (stage, *nx.descendants(graph, stage)) if each in changed
            ]
            if reasons:
                metrics = [out for out in stage.outs if out.is_metric]
                outdated |= {str(out.def_path): "; ".join(reasons) for out in metrics}
        return outdated


def _why_outdated(stage: PipelineStage, made: dict[str, Any]) -> str:
    found = ["its command"] if stage.cmd_changed else []
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            for path, keys in dep.status().items():
                found += keys if isinstance(keys, dict) else [path]
        elif dep.fs_path in made and dep.hash_info != made[dep.fs_path]:
            found.append(dep.def_path)
    return f"{stage.addressing} did not run since {_listed(found)} changed" if found else ""


def _listed(changes: list[str]) -> str:
    more = len(changes) - SHOWN_CHANGES
    return ", ".join([*changes[:SHOWN_CHANGES], *([f"{more} more"] if more > 0 else [])])


def output_lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of a child's output; of a progress bar that redraws its line, the last drawing."""
    for raw in process.stdout:
        yield raw.decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2]


def _mark(text: str) -> Line | None:
    """The line, where DVC says with it that a stage begins or fails."""
    for pattern, outcome, reason in MARKS:
        if match := pattern.fullmatch(text):
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
    return {**identity(root), **environment}


def identity(root: Path) -> dict[str, str]:
    """Variables that tell Git who commits: the one it knows, or Tagloom where it knows nobody."""
    names = {key: git(root, "config", f"user.{key}") or name for key, name in IDENTITY.items()}
    roles = ("AUTHOR", "COMMITTER")
    return {f"GIT_{role}_{key.upper()}": name for key, name in names.items() for role in roles}


def git(root: Path, *arguments: str) -> str | None:
    """What Git prints, without the blanks around it; None where it fails."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env={**identity(root), **os.environ} if arguments[0] == "commit-tree" else None,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode else done.stdout.strip()


@contextmanager
def _dvc(
    root: Path, arguments: list[str], held: IO[str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """DVC's command line in a child process, with what it prints as its output."""
    options = {
        "cwd": root,
        "env": _environment(root),
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    full: list[ProjectError] = []

    def watch(process: subprocess.Popen[bytes], leash: IO[bytes]) -> None:
        # DVC's databases wait for ever for room on a full disk.
        while process.poll() is None and not full:
            try:
                check_room(root, NO_ROOM)
                time.sleep(LOOK)
            except ProjectError as error:
                full.append(error)
                leash.close()

    command = [sys.executable, "-m", "dvc", *arguments]
    try:
        with leashed(command, options, held) as (process, leash):
            threading.Thread(target=watch, args=(process, leash), daemon=True).start()
            yield process
    finally:
        if full:
            raise full[0]


@contextmanager
def leashed(
    command: list[str], options: dict[str, Any], held: IO[str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Starts the command in a process group of its own, which ends with the block at the latest.

    When the block raises, the whole group has ended by the time the exception goes on. When the
    command fails or is killed, what it has started ends too, and its output is at its end. When
    this process is killed, ``leash`` ends the group all the same. Another thread ends it by closing
    what is yielded beside the process. ``held`` stays open until the group has ended.
    """
    leash = subprocess.Popen(
        [sys.executable, "-I", Path(__file__).with_name("leash.py")],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, not for the leash
        pass_fds=[held.fileno()] if held else [],
    )
    with leash, subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            leash.stdin.write(b"%d\n" % process.pid)
            leash.stdin.flush()
            threading.Thread(target=_let_go, args=(process, leash.stdin), daemon=True).start()
            yield process, leash.stdin
            if process.poll() == 0 and not leash.stdin.closed:
                leash.stdin.write(b"done\n")
        finally:
            with suppress(BrokenPipeError):  # somebody has killed the leash
                leash.stdin.close()


def _let_go(process: subprocess.Popen[bytes], leash: IO[bytes]) -> None:
    if process.wait():
        leash.close()


def _queue(experiments: dict[str, list[str]]) -> None:
    """What ``Queue.add`` starts: ``dvc exp run --queue`` for each, in one process."""
    with Repo() as repo:
        _take_off(repo, experiments.keys())
        refs = [str(ExpRefInfo(repo.scm.get_rev(), name)) for name in experiments]
        replaced = {ref: commit for ref in refs if (commit := repo.scm.get_ref(ref))}
        try:
            for ref in replaced:
                repo.scm.remove_ref(ref)
            for name, overrides in experiments.items():
                repo.experiments.run(queue=True, name=name, params=overrides)
        except BaseException:
            for ref, commit in replaced.items():
                repo.scm.set_ref(ref, commit)
            _take_off(repo, experiments.keys())
            raise


def _take_off(repo: Repo, names: Collection[str]) -> None:
    """Takes what has one of the names off the queue, whatever became of it."""
    from dvc.repo.experiments.executor.base import ExecutorInfo

    queue = repo.experiments.celery_queue
    app = queue.celery
    waiting = [each for each in queue._iter_queued() if each.entry.name in names]
    taken = [each for each in queue._iter_processed() if each.entry.name in names]
    entries = [each.entry for each in (*waiting, *taken)]
    for entry in entries:
        if _runs(queue.proc.get(entry.stash_rev), entry.stash_rev):
            raise ProjectError(
                f"{entry.name} is being run from DVC's queue: wait for it, or stop it with "
                f"dvc queue kill {entry.name}"
            )
    for message, _ in waiting:
        app.reject(message.delivery_tag)
    for message, _ in taken:
        result = app.AsyncResult(message.headers["id"])
        if result.ready():
            result.forget()
        app.purge(message.delivery_tag)
    for stash in (queue.stash, queue.failed_stash):
        found = stash.stash_revs
        stash.remove_revs([found[e.stash_rev] for e in entries if e.stash_rev in found])
    for entry in entries:
        info = Path(queue.get_infofile_path(entry.stash_rev))
        if info.exists():
            # A run that was killed has left its copy of the project.
            shutil.rmtree(ExecutorInfo.load_json(str(info)).root_dir, ignore_errors=True)
        shutil.rmtree(info.parent, ignore_errors=True)


def _runs(process: "ProcessInfo | None", revision: str) -> bool:
    """Whether the process lives, and no other has got its number since."""
    if process is None or process.returncode is not None:
        return False
    try:
        return any(revision in part for part in psutil.Process(process.pid).cmdline())
    except psutil.Error:
        return False


def _run(name: str) -> int:
    """What ``Queue.run`` starts: what a worker of ``dvc queue start`` does, for one experiment."""
    from dvc.repo.experiments.queue import tasks

    with Repo() as repo:
        queue = repo.experiments.celery_queue
        app = queue.celery
        message, entry = next(each for each in queue._iter_queued() if each.entry.name == name)
        infofile = queue.get_infofile_path(entry.stash_rev)
        with _one_by_one(repo):
            executor = tasks.setup_exp(entry.asdict())
        waiting = Path(app._queued_msg_path_cache[message.delivery_tag])
        waiting.rename(Path(app.conf.broker_transport_options["processed_folder"], waiting.name))
        try:
            code = _executed(infofile, queue.proc, entry.stash_rev)
        finally:
            with _one_by_one(repo):
                tasks.collect_exp(None, entry.asdict())
            tasks.cleanup_exp(executor, infofile)
            app.backend.mark_as_done(message.headers["id"], None)
    return code


def _executed(infofile: str, processes: "ProcessManager", revision: str) -> int:
    """Runs the stages in the copy that was set up; prints their output and keeps it as a log."""
    from dvc_task.proc.process import ProcessInfo

    log = Path(infofile).with_suffix(".out")
    info = ProcessInfo(os.getpid(), stdin=None, stdout=str(log), stderr=None, returncode=None)
    processes[revision] = info
    # Ctrl-C and dvc queue kill are for the stages; what became of them is still collected.
    signal.signal(signal.SIGINT, lambda *_: None)
    command = [sys.executable, "-m", "dvc", "exp", "exec-run", "--infofile", infofile]
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
    ):
        for line in process.stdout:
            for out in (file, sys.stdout.buffer):
                out.write(line)
                out.flush()
    info.returncode = process.returncode
    processes[revision] = info
    return process.returncode


@contextmanager
def _one_by_one(repo: Repo) -> Iterator[None]:
    """Setting up and collecting change refs of the repository: never two at a time."""
    with Path(repo.tmp_dir, "sweep-setup.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """``queue`` with experiments on stdin, or ``run NAME``; in the project's folder."""
    # Started in the background of a shell, Ctrl-C would be ignored; with it DVC puts the workspace
    # back as it was.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if sys.argv[1] == "queue":
            _queue(json.load(sys.stdin))
        else:
            sys.exit(_run(sys.argv[2]))
    except (DvcException, ProjectError) as error:
        sys.exit(f"{ERROR}{error}")


if __name__ == "__main__":
    main()
