"""Where models are retrained: a clone of the repository, so that nobody's checkout is touched."""

import os
import re
import shutil
from contextlib import chdir
from itertools import chain, count
from pathlib import Path

from experiments.checkout import changed_files, changed_params
from experiments.dvc_project import (
    ProjectError,
    check_out,
    check_outputs,
    check_room,
    experiment_ref,
    git,
    git_folder,
    git_or_none,
    head,
    is_as_added,
    locked_file,
    open_project,
    share_cache,
    sources,
    uncached_outputs,
    update,
)
from experiments.plan import read
from experiments.registry import Registry
from experiments.sources import Unreadable, mirror

# Stages find the checkout's cache folder from here, as from the experiments of DVC's queue.
FOLDER = Path(".dvc/tmp/exps/retrain")
# Refs of this worktree, as the clone and its lock are: each worktree has its own.
REFS = "refs/worktree/tagloom"
LAST_RUN = "ran"  # the experiment that ran last …
LAST_JUDGED = "retrained"  # … and the one that was last judged, and promoted or not
PHOTOS = "ingest.root"


class Workspace:
    """A clone of the repository of the project in ``root``, with its cache and its photos; kept
    from run to run.

    A context manager: one at a time may be entered for a project, else Transient.

    The photos are those of ``ingest.root``, as the commit has it. Below ``root``, they are taken as
    they are when the workspace is entered: what comes later is for the next time. Where DVC tracks
    them, they are what the commit says, or for an import (``dvc import``, ``dvc import-url``) what
    its source has.

    Attributes:
        folder: the project in the clone.
        repo: the DVC project there, read once for all who ask.
        base: the commit that is checked out in ``root``.
        uncommitted: what the checkout differs in from ``base``, for people; not retrained.
        unreadable: what of the photos was set aside, since it cannot be read.
        lock: an open file. While a process has it open, nobody else enters.
        scratch: a folder beside, empty when the workspace is entered.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.base = head(self.root)
        self._top, self._subdirectory = git_folder(self.root)
        self._clone = self.root / FOLDER
        self.folder = self._clone / self._subdirectory
        self.scratch = self._clone.with_suffix(".tmp")
        self._refs = f"{REFS}/{self._subdirectory}" if self._subdirectory.name else REFS
        self.uncommitted: list[str] = []
        self.unreadable: list[Unreadable] = []
        self._redirected: list[Path] = []  # links of Git's that lead elsewhere in the clone

    def __enter__(self) -> "Workspace":
        self._clone.parent.mkdir(parents=True, exist_ok=True)
        busy = "Another retraining is running in this project"
        self.lock = locked_file(self._clone.with_suffix(".lock"), busy)
        try:
            self._prepare()
        except BaseException:
            self.lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.repo.close()
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.lock.close()

    def new_name(self, name: str) -> str:
        """``name``, or where an experiment has it, for clocks get set back, the next that is free.

        In ``root`` and here: one that was killed may have left its own here only.
        """
        numbered = (f"{name.partition('_')[0]}_{number}" for number in count(2))
        return next(each for each in chain([name], numbered) if not self._has_experiment(each))

    def _has_experiment(self, name: str) -> bool:
        ref = experiment_ref(self.base, name)
        return any(git(folder, "for-each-ref", ref) for folder in (self.root, self._clone))

    def result(self, name: str) -> str:
        """The commit of the experiment ``name``, which ran here; from now on ``root`` has it."""
        ref = experiment_ref(self.base, name)
        rev = self._git("for-each-ref", "--format=%(objectname)", ref)
        if not rev:
            raise ProjectError(f"The experiment {name} left no result")
        if self._redirected:
            rev = self._with_committed_links(rev, ref)
        self._git("push", "--quiet", str(self._top), f"{ref}:{ref}")
        self._set(LAST_RUN, rev)
        return rev

    def unfinished(self) -> tuple[str, str] | None:
        """The name and the commit of the experiment that ran last, where it was not judged."""
        rev = self._get(LAST_RUN)
        if rev is None or rev == self.judged():
            return None
        points = f"--points-at={rev}"
        ref = git(self.root, "for-each-ref", points, "--format=%(refname)", "refs/exps/*/*/*")
        return (ref or rev[:7]).rpartition("/")[2], rev

    def judged(self) -> str | None:
        """The commit of the experiment that was judged last, if any was."""
        return self._get(LAST_JUDGED)

    def base_of(self, rev: str) -> str:
        """The commit that the experiment at ``rev`` began at."""
        return self._git("rev-parse", "--verify", f"{rev}^")

    def mark_judged(self, rev: str) -> None:
        """Records that the experiment at ``rev`` was judged: the next run begins after it."""
        self._set(LAST_JUDGED, rev)

    def _prepare(self) -> None:
        """The commit ``base``, as its stages last ran here, with all that they depend on."""
        check_room(self.root)
        self.uncommitted = changed_params(self.root, self.base)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        self._check_out()
        photos = self._photos()
        # Neither is Git to clear them away, nor an experiment's commit to take them in.
        ignored = re.sub(r"([\\*?\[ ])", r"\\\1", str(self._subdirectory / photos))
        (self._clone / ".git" / "info" / "exclude").write_text(f"/{ignored}\n", "utf-8")
        self._git("clean", "-d", "--force", "--quiet")
        for local in ("config.local", "tmp/rwlock"):
            (self.folder / ".dvc" / local).unlink(missing_ok=True)
        share_cache(self.root, self.folder)
        tracked = self._tracked(photos)
        if not (tracked or photos.is_absolute()):
            self._mirror(photos)
        last = self._get(LAST_RUN) or self._champion()
        if last:
            restored = ["dvc.lock"]
            if tracked and self._is_unchanged(tracked, last):
                restored.append(tracked)
            self._restore(last, restored)
        self.repo = open_project(self.folder)
        check_outputs(self.repo)
        self.uncommitted += changed_files(self.root, sources(self.repo), photos)
        with chdir(self.folder):  # DVC names stages as they are seen from the current folder
            if last:
                self._restore(last, uncached_outputs(self.repo))
            check_out(self.repo, self.lock)
            if tracked:
                self.uncommitted += self._not_added(tracked)
                update(self.folder, tracked, self.lock)
                self.repo.close()
                self.repo = open_project(self.folder)  # an import may be another now

    def _check_out(self) -> None:
        """The files of ``base``, in the clone."""
        if self._clone.is_symlink():
            raise ProjectError(
                f"{self._clone} is a link, and a retraining makes a folder there: remove it "
                "(.dvc/tmp itself may be one, to another disk)"
            )
        try:
            self._git("checkout", "--quiet", "--force", "--detach", self.base)
        except (OSError, ProjectError):
            # There is none yet, or a run that was killed has left one that is of no use; the
            # outputs are in the cache.
            shutil.rmtree(self._clone, ignore_errors=True)
            clone = ("clone", "--quiet", "--shared", "--no-checkout", str(self._top))
            git(self.root, *clone, str(self._clone))
            self._git("checkout", "--quiet", "--force", "--detach", self.base)

    def _photos(self) -> Path:
        """The folder of the photos, below the project or with its full path."""
        named = read(self.folder).get(PHOTOS)
        if named is None:
            raise ProjectError(f"params.yaml has no {PHOTOS}")
        photos = Path(os.path.normpath(named))
        if self.root.is_relative_to((self.root / photos).resolve()):
            raise ProjectError(
                f"{PHOTOS} is {named}, which holds the project itself; photos need a folder of "
                "their own"
            )
        if photos.parts[0] == os.pardir:
            raise ProjectError(f"{PHOTOS} is {named}; outside the repository, give a full path")
        return photos

    def _mirror(self, photos: Path) -> None:
        """Brings the photos to where the clone's stages look for them.

        Links that Git tracks are the commit's, as its files are, and stay links: what they lead to
        is read where it is.
        """
        if not (self.root / photos).is_dir():
            raise ProjectError(f"{self.root / photos} is no folder ({PHOTOS})")
        links = self._tracked_links(photos)
        for link in links:
            path, committed = self.root / link, (self.folder / link).readlink()
            if not path.is_symlink() or path.readlink() != committed:
                raise ProjectError(
                    f"{link} is a link to {committed} in the commit "
                    f"{self.base[:7]}, which is what is retrained, and leads elsewhere in the "
                    "checkout: commit it, or put it back"
                )
        if not any(photos.is_relative_to(link) for link in links):
            keep = {str(self.folder / link) for link in links}
            self.unreadable = mirror(self.root / photos, self.folder / photos, keep)
        for link in links:
            in_clone, target = self.folder / link, (self.root / link).resolve()
            allowed = [target]
            if target.is_relative_to(self._top):
                allowed.append(self._clone.resolve() / target.relative_to(self._top))
            if target.exists() and not (in_clone.exists() and in_clone.resolve() in allowed):
                in_clone.unlink()
                in_clone.symlink_to(target)
                self._redirected.append(self._subdirectory / link)

    def _tracked_links(self, photos: Path) -> list[Path]:
        """The links that Git tracks on the way to the photos, and below; seen from the project."""
        for folder in reversed(photos.parents):
            if (self.folder / folder).is_symlink():
                return [folder]
        below = self._git("ls-files", "--stage", "-z", "--", str(self._subdirectory / photos))
        entries = (entry.split("\t", 1) for entry in below.split("\0") if entry)
        return [
            Path(path).relative_to(self._subdirectory)
            for stage, path in entries
            if stage.startswith("120000 ")
        ]

    def _with_committed_links(self, rev: str, ref: str) -> str:
        """The experiment's commit with the links as ``base`` has them, in place of ``rev``."""
        index = {"GIT_INDEX_FILE": str(self.scratch / "index")}
        self._git("read-tree", rev, **index)
        for path in self._redirected:
            entry = self._git("ls-tree", self.base, "--", str(path)).split()
            self._git("update-index", "--cacheinfo", f"120000,{entry[2]},{path}", **index)
        tree = self._git("write-tree", **index)
        message = self._git("log", "-1", "--format=%B", rev)
        commit = self._git("commit-tree", tree, "-p", self.base_of(rev), "-m", message)
        self._git("update-ref", ref, commit, rev)
        return commit

    def _restore(self, rev: str, paths: list[str]) -> None:
        """Brings files to where the commit ``rev`` has them; those that it has not stay."""
        below = [str(self._subdirectory / path) for path in paths]
        # One that it has not would make Git refuse all of them.
        tracked = self._git("ls-tree", "-r", "-z", "--name-only", rev, "--", *below)
        if tracked:
            self._git("checkout", rev, "--", *filter(None, tracked.split("\0")))

    def _tracked(self, photos: Path) -> str | None:
        """The ``.dvc`` file of the photos, or of a folder that holds them."""
        folders = () if photos.is_absolute() else (photos, *photos.parents)
        files = [f"{folder}.dvc" for folder in folders if folder.name]
        return next((file for file in files if (self.folder / file).is_file()), None)

    def _not_added(self, tracked: str) -> list[str]:
        """The folder that ``tracked``, a ``.dvc`` file, stands for, if it is not as that has it."""
        folder = tracked.removesuffix(".dvc")
        if not (self.root / tracked).is_file() or is_as_added(self.root, tracked):
            return []
        return [f"{folder}, which is not as {tracked} has it (dvc add {folder})"]

    def _is_unchanged(self, path: str, last: str) -> bool:
        """Whether nobody has changed ``path`` since the commit that ``last`` began at."""
        commits = (self.base_of(last), self.base)
        return git_or_none(self.root, "diff", "--quiet", *commits, "--", path) is not None

    def _champion(self) -> str | None:
        """Where nothing ran yet, the model in use is what there is: others have retrained it."""
        champion = Registry(self.root).champion()
        return champion.rev if champion else None

    def _get(self, name: str) -> str | None:
        return git_or_none(self.root, "rev-parse", "--verify", "--quiet", f"{self._refs}/{name}")

    def _set(self, name: str, rev: str) -> None:
        git(self.root, "update-ref", f"{self._refs}/{name}", rev)

    def _git(self, *arguments: str, **variables: str) -> str:
        """Git in the clone and nowhere else: where that is damaged, Git would take ``root``'s."""
        ceiling = str(self._clone.parent)
        return git(self._clone, *arguments, GIT_CEILING_DIRECTORIES=ceiling, **variables)
