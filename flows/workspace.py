"""Where models are retrained: a clone of the repository, so that nobody's checkout is touched."""

import fcntl
import os
import shutil
import time
from contextlib import chdir, suppress
from pathlib import Path

from flows.dvc_project import (
    ProjectError,
    Transient,
    check_out,
    check_room,
    experiment_ref,
    git,
    open_project,
    share_cache,
    uncached_outputs,
    update,
)
from flows.registry import Registry

# Stages find the checkout's cache folder from here, as from the experiments of DVC's queue.
FOLDER = Path(".dvc/tmp/exps/retrain")
LAST = "refs/tagloom/ran"  # the experiment that ran last …
DONE = "refs/tagloom/retrained"  # … and the one that was last judged, and promoted or not
CLAIM = 20.0  # seconds for what a run that was killed has left running to end


class Workspace:
    """A clone of the project in ``root``, with its cache and its photos; kept from run to run.

    A context manager: one at a time may be entered for a project, else ProjectError.

    Args:
        raw: the folder of the photos. Below ``root``, it is taken as it is when the workspace is
            entered: what comes later is for the next time. Where DVC tracks it, it is what the
            commit says, or for an import (``dvc import``, ``dvc import-url``) what its source has.

    Attributes:
        folder: where it is.
        repo: the DVC project there, read once for all who ask.
        base: the commit that is checked out in ``root``.
        claim: an open file. While a process has it open, nobody else enters.
        scratch: a folder beside, empty when the workspace is entered.
    """

    def __init__(self, root: Path, raw: str) -> None:
        self.root, self.raw = root.resolve(), os.path.normpath(raw)
        if self.root.is_relative_to((self.root / raw).resolve()):
            raise ProjectError(
                f"ingest.root is {raw}, which holds the project itself; photos need a folder of "
                "their own"
            )
        if self.raw.startswith(".."):
            raise ProjectError(f"ingest.root is {raw}; outside the repository, give a full path")
        self.folder = self.root / FOLDER
        self.scratch = self.folder.with_suffix(".tmp")
        self.base = git(self.root, "rev-parse", "--verify", "--quiet", "HEAD")
        if self.base is None:
            raise ProjectError("Retraining begins at a commit, and Git has none here yet")

    def __enter__(self) -> "Workspace":
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.claim = self.folder.with_suffix(".lock").open("w")
        deadline = time.monotonic() + CLAIM
        while True:
            try:
                fcntl.flock(self.claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self.claim.close()
                    raise Transient("Another retraining is running in this project") from None
                time.sleep(0.1)
        try:
            self._prepare()
        except BaseException:
            self.claim.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.repo.close()
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.claim.close()

    def result(self, name: str) -> str:
        """The commit of the experiment ``name``, which ran here; from now on ``root`` has it."""
        ref = experiment_ref(self.base, name)
        rev = git(self.folder, "rev-parse", "--verify", "--quiet", ref)
        if (
            rev is None
            or git(self.folder, "push", "--quiet", str(self.root), f"{ref}:{ref}") is None
        ):
            raise ProjectError(f"The experiment {name} left no result")
        git(self.root, "update-ref", LAST, rev)
        return rev

    def unfinished(self) -> tuple[str, str] | None:
        """The name and the commit of the experiment that ran last, where it was not judged."""
        rev = self._rev(LAST)
        if rev is None or rev == self._rev(DONE):
            return None
        points = f"--points-at={rev}"
        found = git(self.root, "for-each-ref", points, "--format=%(refname)", "refs/exps/*/*/*")
        return (found or rev[:7]).rpartition("/")[2], rev

    def began(self, rev: str) -> str:
        """The commit that the experiment at ``rev`` began at."""
        return self._rev(f"{rev}^")

    def keep(self, rev: str) -> None:
        """Takes down that the experiment at ``rev`` was judged: the next run begins after it."""
        git(self.root, "update-ref", DONE, rev)

    def _prepare(self) -> None:
        """The commit ``base``, as its stages last ran here, with all that they depend on."""
        check_room(self.root)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        if not (self.folder / ".git").is_dir() or not self._check_out():
            # What a run that was killed has left may be of no use; the outputs are in the cache.
            shutil.rmtree(self.folder, ignore_errors=True)
            clone = ("clone", "--quiet", "--shared", "--no-checkout", ".", str(self.folder))
            if git(self.root, *clone) is None or not self._check_out():
                raise ProjectError(f"Git cannot clone {self.root} to {self.folder}")
        for local in ("config.local", "tmp/rwlock"):
            (self.folder / ".dvc" / local).unlink(missing_ok=True)
        share_cache(self.root, self.folder)
        # An experiment's commit takes in what Git does not ignore.
        (self.folder / ".git" / "info" / "exclude").write_text(f"/{self.raw}\n", "utf-8")
        tracked = self._tracked()
        if not (tracked or Path(self.raw).is_absolute()):
            if not (self.root / self.raw).is_dir():
                raise ProjectError(f"{self.root / self.raw} is no folder (ingest.root)")
            mirror(self.root / self.raw, self.folder / self.raw)
        last = self._rev(LAST) or self._champion()
        if last:
            is_as_before = tracked and self._is_as_before(tracked, last)
            self._take_back(last, ["dvc.lock", *([tracked] if is_as_before else [])])
        self.repo = open_project(self.folder)
        with chdir(self.folder):  # DVC names stages as they are seen from the current folder
            if last:
                self._take_back(last, uncached_outputs(self.repo))
            check_out(self.repo, self.claim)
            if tracked:
                update(self.folder, tracked, self.claim)
                self.repo.close()
                self.repo = open_project(self.folder)  # an import may be another now

    def _take_back(self, rev: str, paths: list[str]) -> None:
        """Brings files to where the commit ``rev`` has them; those that it has not stay."""
        # One that it has not would make Git refuse all of them.
        found = git(self.folder, "ls-tree", "-r", "-z", "--name-only", rev, "--", *paths) or ""
        if found:
            git(self.folder, "checkout", rev, "--", *filter(None, found.split("\0")))

    def _tracked(self) -> str | None:
        """The ``.dvc`` file of the photos, or of a folder that holds them."""
        folders = () if Path(self.raw).is_absolute() else (Path(self.raw), *Path(self.raw).parents)
        files = [f"{folder}.dvc" for folder in folders if folder.name]
        return next((file for file in files if (self.folder / file).is_file()), None)

    def _is_as_before(self, path: str, last: str) -> bool:
        """Whether nobody has changed ``path`` since the commit that ``last`` began at."""
        return (
            git(self.root, "diff", "--quiet", self.began(last), self.base, "--", path) is not None
        )

    def _champion(self) -> str | None:
        """Where nothing ran yet, the model in use is what there is: others have retrained it."""
        champion = Registry(self.root).champion()
        return champion.rev if champion else None

    def _rev(self, ref: str) -> str | None:
        return git(self.root, "rev-parse", "--verify", "--quiet", ref)

    def _check_out(self) -> bool:
        (self.folder / ".git" / "index.lock").unlink(missing_ok=True)
        done = git(self.folder, "checkout", "--quiet", "--force", "--detach", self.base)
        return (
            done is not None and git(self.folder, "clean", "-d", "--force", "--quiet") is not None
        )


def mirror(source: Path, target: Path) -> None:
    """Makes ``target`` hold what ``source`` holds, by hard links; copies on another file system.

    A file that is there already, as the same link, stays. What is taken away meanwhile is left out.
    """
    target.mkdir(parents=True, exist_ok=True)
    with os.scandir(source) as found, os.scandir(target) as there:
        left = {entry.name: entry for entry in there}
        for entry in found:
            old, path = left.pop(entry.name, None), target / entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if old is not None and not is_folder and old.inode() == entry.inode():
                continue
            if old is not None and not (is_folder and old.is_dir(follow_symlinks=False)):
                _remove(old)
            if is_folder:
                with suppress(FileNotFoundError):  # taken away meanwhile
                    mirror(Path(entry.path), path)
            else:
                _link(entry.path, path)
    for entry in left.values():
        _remove(entry)


def _link(source: str, target: Path) -> None:
    with suppress(FileNotFoundError):  # taken away meanwhile
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:
            shutil.copy2(source, target, follow_symlinks=False)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)
