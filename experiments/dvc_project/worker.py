"""The program that ``Queue`` starts: queues experiments, or runs one as DVC's worker would.

A file that stands alone: it is started by its path, wherever the project is.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.experiments.refs import ExpRefInfo

if TYPE_CHECKING:  # slow to import
    from dvc_task.proc.manager import ProcessManager
    from dvc_task.proc.process import ProcessInfo

FOLDER = "Running in "  # begins the line that says where the experiment has its copy of the project
BLOCK = 2**16  # bytes that are read of the stages' output at once, at most


def _queue(experiments: dict[str, list[str]]) -> None:
    """What ``Queue.add`` starts: ``dvc exp run --queue`` for each, in one process."""
    with Repo() as repo, _one_by_one(repo):
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


def _remove(names: list[str]) -> None:
    """What ``Queue.remove`` starts."""
    with Repo() as repo, _one_by_one(repo):
        _take_off(repo, names)


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
            raise LockError(
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
        revs = stash.stash_revs
        stash.remove_revs([revs[each.stash_rev] for each in entries if each.stash_rev in revs])
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
        print(f"{FOLDER}{Path(executor.root_dir, executor.dvc_dir).parent}", flush=True)
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
    cli = str(Path(__file__).with_name("cli.py"))
    command = [sys.executable, "-P", cli, "exp", "exec-run", "--infofile", infofile]
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
    ):
        assert process.stdout is not None
        while part := os.read(process.stdout.fileno(), BLOCK):  # not by lines: bars redraw theirs
            for out in (file, sys.stdout.buffer):
                out.write(part)
                out.flush()
    info.returncode = process.returncode
    processes[revision] = info
    return process.returncode


@contextmanager
def _one_by_one(repo: Repo) -> Iterator[None]:
    """Queueing, setting up and collecting change refs of the repository: never two at a time."""
    with Path(repo.tmp_dir, "sweep-setup.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """In the project's folder: ``queue`` or ``remove`` experiments of stdin, or ``run NAME``."""
    # Started in the background of a shell, Ctrl-C would be ignored; with it DVC puts the workspace
    # back as it was.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if sys.argv[1] == "queue":
            _queue(json.load(sys.stdin))
        elif sys.argv[1] == "remove":
            _remove(json.load(sys.stdin))
        else:
            sys.exit(_run(sys.argv[2]))
    except DvcException as error:
        print(f"ERROR: {error}", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL if isinstance(error, LockError) else 1)


if __name__ == "__main__":
    main()
