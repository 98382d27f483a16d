"""Where models are retrained: a clone of the repository, so that nobody's checkout is touched."""

import fcntl
import os
import re
import shutil
import time
from contextlib import chdir
from itertools import count
from pathlib import Path

from experiments.checkout import changed_files, changed_params
from experiments.dvc_project import (
    ProjectError,
    Transient,
    check_out,
    check_outputs,
    check_room,
    experiment_ref,
    git,
    git_folder,
    head,
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
LAST = "ran"  # the experiment that ran last …
DONE = "retrained"  # … and the one that was last judged, and promoted or not
CLAIM = 20.0  # seconds for what a run that was killed has left running to end
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
        claim: an open file. While a process has it open, nobody else enters.
        scratch: a folder beside, empty when the workspace is entered.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.base = head(self.root)
        self._top, self._way = git_folder(self.root)
        self._clone = self.root / FOLDER
        self.folder = self._clone / self._way
        self.scratch = self._clone.with_suffix(".tmp")
        self._refs = f"{REFS}/{self._way}" if self._way.name else REFS
        self.uncommitted: list[str] = []
        self.unreadable: list[Unreadable] = []
        self._bent: list[Path] = []  # links of Git's that lead elsewhere in the clone

    def __enter__(self) -> "Workspace":
        self._clone.parent.mkdir(parents=True, exist_ok=True)
        # Opened to add: whatever lies there by that name keeps what it holds.
        self.claim = self._clone.with_suffix(".lock").open("a")
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

    def new_name(self, name: str) -> str:
        """``name``, or where an experiment has it, for clocks get set back, the next that is free.

        In ``root`` and here: one that was killed may have left its own here only.
        """
        for number in count(2):
            ref = experiment_ref(self.base, name)
            if not any(git(at, "for-each-ref", ref) for at in (self.root, self._clone)):
                return name
            name = f"{name.partition('_')[0]}_{number}"

    def result(self, name: str) -> str:
        """The commit of the experiment ``name``, which ran here; from now on ``root`` has it."""
        ref = experiment_ref(self.base, name)
        rev = self._git("rev-parse", "--verify", "--quiet", ref)
        if rev is None:
            raise ProjectError(f"The experiment {name} left no result")
        if self._bent:
            rev = self._straighten(rev, ref)
        self._git("push", "--quiet", str(self._top), f"{ref}:{ref}")
        self._set(LAST, rev)
        return rev

    def unfinished(self) -> tuple[str, str] | None:
        """The name and the commit of the experiment that ran last, where it was not judged."""
        rev = self._get(LAST)
        if rev is None or rev == self.judged():
            return None
        points = f"--points-at={rev}"
        found = git(self.root, "for-each-ref", points, "--format=%(refname)", "refs/exps/*/*/*")
        return (found or rev[:7]).rpartition("/")[2], rev

    def judged(self) -> str | None:
        """The commit of the experiment that was judged last, if any was."""
        return self._get(DONE)

    def began(self, rev: str) -> str:
        """The commit that the experiment at ``rev`` began at."""
        return self._git("rev-parse", "--verify", f"{rev}^")

    def keep(self, rev: str) -> None:
        """Takes down that the experiment at ``rev`` was judged: the next run begins after it."""
        self._set(DONE, rev)

    def _prepare(self) -> None:
        """The commit ``base``, as its stages last ran here, with all that they depend on."""
        check_room(self.root)
        self.uncommitted = changed_params(self.root, self.base)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        self._check_out()
        photos = self._photos()
        # Neither is Git to clear them away, nor an experiment's commit to take them in.
        ignored = re.sub(r"([\\*?\[ ])", r"\\\1", str(self._way / photos))
        (self._clone / ".git" / "info" / "exclude").write_text(f"/{ignored}\n", "utf-8")
        self._git("clean", "-d", "--force", "--quiet")
        for local in ("config.local", "tmp/rwlock"):
            (self.folder / ".dvc" / local).unlink(missing_ok=True)
        share_cache(self.root, self.folder)
        tracked = self._tracked(photos)
        if not (tracked or photos.is_absolute()):
            self._mirror(photos)
        last = self._get(LAST) or self._champion()
        if last:
            is_as_before = tracked and self._is_as_before(tracked, last)
            self._take_back(last, ["dvc.lock", *([tracked] if is_as_before else [])])
        self.repo = open_project(self.folder)
        check_outputs(self.repo)
        self.uncommitted += changed_files(self.root, sources(self.repo), photos)
        with chdir(self.folder):  # DVC names stages as they are seen from the current folder
            if last:
                self._take_back(last, uncached_outputs(self.repo))
            check_out(self.repo, self.claim)
            if tracked:
                update(self.folder, tracked, self.claim)
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
            here = self.root / link
            if not here.is_symlink() or here.readlink() != (self.folder / link).readlink():
                raise ProjectError(
                    f"{link} is a link to {(self.folder / link).readlink()} in the commit "
                    f"{self.base[:7]}, which is what is retrained, and leads elsewhere in the "
                    "checkout: commit it, or put it back"
                )
        if not any(photos.is_relative_to(link) for link in links):
            keep = {str(self.folder / link) for link in links}
            self.unreadable = mirror(self.root / photos, self.folder / photos, keep)
        for link in links:
            there, real = self.folder / link, (self.root / link).resolve()
            right = [real]
            if real.is_relative_to(self._top):
                right.append(self._clone.resolve() / real.relative_to(self._top))
            if real.exists() and not (there.exists() and there.resolve() in right):
                there.unlink()
                there.symlink_to(real)
                self._bent.append(self._way / link)

    def _tracked_links(self, photos: Path) -> list[Path]:
        """The links that Git tracks on the way to the photos, and below; seen from the project."""
        for folder in reversed(photos.parents):
            if (self.folder / folder).is_symlink():
                return [folder]
        below = self._git("ls-files", "--stage", "-z", "--", str(self._way / photos))
        entries = (entry.split("\t", 1) for entry in below.split("\0") if entry)
        return [
            Path(path).relative_to(self._way)
            for stage, path in entries
            if stage.startswith("120000 ")
        ]

    def _straighten(self, rev: str, ref: str) -> str:
        """The experiment's commit with the links as ``base`` has them, in place of ``rev``."""
        index = {"GIT_INDEX_FILE": str(self.scratch / "index")}
        self._git("read-tree", rev, **index)
        for path in self._bent:
            entry = self._git("ls-tree", self.base, "--", str(path)).split()
            self._git("update-index", "--cacheinfo", f"120000,{entry[2]},{path}", **index)
        tree = self._git("write-tree", **index)
        message = self._git("log", "-1", "--format=%B", rev)
        commit = self._git("commit-tree", tree, "-p", self.began(rev), "-m", message)
        self._git("update-ref", ref, commit, rev)
        return commit

    def _take_back(self, rev: str, paths: list[str]) -> None:
        """Brings files to where the commit ``rev`` has them; those that it has not stay."""
        below = [str(self._way / path) for path in paths]
        # One that it has not would make Git refuse all of them.
        found = self._git("ls-tree", "-r", "-z", "--name-only", rev, "--", *below)
        if found:
            self._git("checkout", rev, "--", *filter(None, found.split("\0")))

    def _tracked(self, photos: Path) -> str | None:
        """The ``.dvc`` file of the photos, or of a folder that holds them."""
        folders = () if photos.is_absolute() else (photos, *photos.parents)
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

    def _get(self, name: str) -> str | None:
        return git(self.root, "rev-parse", "--verify", "--quiet", f"{self._refs}/{name}")

    def _set(self, name: str, rev: str) -> None:
        git(self.root, "update-ref", f"{self._refs}/{name}", rev)

    def _git(self, *arguments: str, **variables: str) -> str | None:
        """Git in the clone and nowhere else: where that is damaged, Git would take ``root``'s."""
        ceiling = str(self._clone.parent)
        return git(self._clone, *arguments, GIT_CEILING_DIRECTORIES=ceiling, **variables)
