"""Experiments that wait, and runs of them, several at a time."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from dvc.repo import Repo
from dvc.repo.experiments.collect import collect_rev
from dvc.repo.experiments.refs import ExpRefInfo
from dvc.stage import PipelineStage
from dvc.utils.serialize import parse_yaml

from experiments.dvc_project import worker
from experiments.dvc_project.errors import EndedEarly, ProjectError, Silent, Transient
from experiments.dvc_project.experiments import Experiment, of_state
from experiments.dvc_project.git import git, git_file, git_folder, git_or_none, head
from experiments.dvc_project.output import ERROR, Line, last_words, mark, output_lines
from experiments.dvc_project.processes import child_process, environment, locked_file
from experiments.dvc_project.project import hash_of, sources
from experiments.sources import listed

LOOK = 1.0  # seconds between two looks at an experiment that is watched


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
        self._commit = head(self.root)
        self._reapers: list[IO[bytes]] = []
        self._stopped = False
        self._reading = threading.Lock()
        self._hashes: dict[str, str | None] = {}

    def __enter__(self) -> "Queue":
        folder = self.root / ".dvc" / "tmp"
        folder.mkdir(exist_ok=True)
        busy = "Another sweep is running in this project"
        self._lock = locked_file(folder / "sweep.lock", busy)
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what other threads run."""
        self._stopped = True
        for reaper in self._reapers:
            reaper.close()
        self._lock.close()

    def result(self, name: str) -> Experiment | None:
        """The experiment as it ended; None where it did not, or was not run at all."""
        ref = str(ExpRefInfo(self._commit, name))
        revision = git_or_none(self.root, "rev-parse", "--verify", "--quiet", ref)
        if revision is None:
            return None
        # Threads ask, and DVC does not say that they may.
        with self._reading, Repo(self.root) as repo:
            return of_state(repo, name, collect_rev(repo, revision))

    def changes(self, experiment: Experiment) -> list[str]:
        """Paths that stages depend on, or are defined by, that are not as ``experiment`` had them.

        Files that Git has are compared with what it has: one that it does not track is not part
        of an experiment. The others, such as photos, with what dvc.lock says of them.
        """
        text = git_file(self.root, experiment.rev, "dvc.lock") or ""
        sources = {
            dep["path"]: dep.get("md5")
            for name, stage in parse_yaml(text, "dvc.lock").get("stages", {}).items()
            for dep in stage.get("deps", ())
            if name in self._stages and dep["path"] not in self._outs
        }
        files = {stage.path_in_repo for stage in self._repo.index.stages}
        files |= sources.keys() & self._tracked
        since = ("--relative", experiment.rev, "--", *sorted(files))
        changed = git(self.root, "diff", "--name-only", *since).splitlines()
        data = sources.keys() - files
        return [*changed, *(path for path in data if self._hash(path) != sources[path])]

    def add(self, experiments: Mapping[str, Mapping[str, Any]]) -> None:
        """Queues experiments: by name, the parameters that change, by key (``train.lr``).

        Each takes the place of others of its name, which waited, failed or left a result. Raises
        ProjectError where one cannot be queued, or would run without what its stages depend on;
        Transient where one is being run. Then none is queued.
        """
        if unknown := self._unknown():
            raise ProjectError(
                "Experiments run in copies of the project, of what Git or DVC knows, and neither "
                f"knows {listed(unknown)}: dvc add what is data, git add what is code and "
                "the .dvc files; photos outside the repository are named by their full path"
            )
        overrides = {
            name: [f"{key}={hydra(value)}" for key, value in changed.items()]
            for name, changed in experiments.items()
        }
        self._tell("queue", overrides)

    def remove(self, names: Sequence[str]) -> None:
        """Takes experiments that did not end well off the queue, as if they had never run.

        Raises Transient where one is being run.
        """
        self._tell("remove", list(names))

    def _tell(self, command: str, content: Any) -> None:
        """Runs ``worker`` with ``content``, as JSON, for it to read."""
        with tempfile.TemporaryFile("w+") as file:
            json.dump(content, file)
            file.seek(0)
            with self._program([command], file) as (process, _):
                texts = list(output_lines(process))
                if code := process.wait():
                    errors = [text for text in texts if text.startswith(ERROR)] or texts[-1:]
                    kind = Transient if code == os.EX_TEMPFAIL else ProjectError
                    raise kind("\n".join(errors).removeprefix(ERROR))

    def run(
        self,
        name: str,
        variables: Mapping[str, str] | None = None,
        patience: float | None = None,
        is_hopeless: Callable[[Path], bool] | None = None,
    ) -> Iterator[Line]:
        """Runs the experiment that is queued as ``name``; yields its output as it comes.

        ``variables`` are added to its environment. ``is_hopeless`` is asked again and again, in
        another thread, about the folder where it has its copy of the project. Raises EndedEarly
        where that said yes; ProjectError with the reason when it fails, is stopped, or one of its
        stages says nothing for ``patience`` minutes.
        """
        texts: list[str] = []
        stage: str | None = None
        ended = threading.Event()
        program = self._program(["run", name], subprocess.DEVNULL, **(variables or {}))
        with program as (process, reaper):

            def watch(folder: Path) -> None:
                while is_hopeless and process.poll() is None:
                    if is_hopeless(folder):
                        ended.set()
                        return reaper.close()
                    time.sleep(LOOK)

            try:
                for text in output_lines(process, patience):
                    if not texts and text.startswith(worker.FOLDER):
                        folder = Path(text.removeprefix(worker.FOLDER))
                        threading.Thread(target=watch, args=[folder], daemon=True).start()
                    texts.append(text)
                    head = mark(text)
                    stage = head.stage if head else stage
                    if text.strip():
                        yield head or Line(stage, text)
            except Silent as error:
                raise ProjectError(f"Stage {stage} failed: {error}") from None
            failed = process.wait()
        if self._stopped:
            raise ProjectError("stopped")
        if failed and ended.is_set():
            raise EndedEarly("ended early: it promised less than the others")
        if failed:
            raise ProjectError(last_words(texts))

    @contextmanager
    def _program(
        self, arguments: list[str], stdin: IO[str] | int, **variables: str
    ) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
        """``worker`` in a child process, and the pipe to its reaper."""
        options = {
            "cwd": self.root,
            "env": environment(self.root) | variables,
            "stdin": stdin,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }
        # With -P, modules beside this file do not pass for packages of the same name. What a
        # sweep that was killed has left running holds the project until it has ended.
        command = [sys.executable, "-P", worker.__file__, *arguments]
        with child_process(command, options, self._lock) as (process, reaper):
            self._reapers.append(reaper)
            if self._stopped:
                reaper.close()
            yield process, reaper

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
        files = map(Path, git(self.root, "ls-files", "-z").split("\0"))
        return {str(path) for file in files for path in (file, *file.parents)}

    def _unknown(self) -> list[str]:
        """What stages depend on and no copy of the project has: a whole folder, or its files."""
        top = str(git_folder(self.root)[0])
        added = {out.fs_path: out.stage.path_in_repo for out in self._repo.index.outs}
        ignored = self._repo.dvcignore.is_ignored_file

        def others(path: str) -> list[str]:
            """What of ``path``, a file or a folder, neither Git nor DVC has."""
            full = os.path.normpath(self.root / path)
            if os.path.isabs(path) or not os.path.lexists(full):
                return []
            if by := [file for out, file in added.items() if _is_below(full, [out])]:
                return [file for file in by if file not in self._tracked]
            if not _is_below(full, [top]):
                return [path]
            names = git(self.root, "ls-files", "--others", "-z", "--", path).split("\0")
            files = {name: str(self.root / name) for name in names if name}
            unknown = [n for n, f in files.items() if not (_is_below(f, added) or ignored(f))]
            return unknown if path in self._tracked else unknown and [path]

        return list(dict.fromkeys(each for path in sources(self._repo) for each in others(path)))

    def _hash(self, path: str) -> str | None:
        if path not in self._hashes:
            stage = next(iter(self._stages.values()))
            self._hashes[path] = hash_of(stage, path) if (self.root / path).exists() else None
        return self._hashes[path]


def _is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether ``path``, a full one, is one of ``folders``, or in one."""
    return any(Path(path).is_relative_to(folder) for folder in folders)


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
