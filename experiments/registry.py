"""The model in use, and those that were before it, as Git has them.

Each is a commit on the branch ``champion``, with its metrics, parameters and ``dvc.lock``. GTO's
tags, which DVC's model registry reads, say the rest: ``model@v0.0.2`` is a version, and
``model#champion#3`` puts it in use. That tag is made last, so that at every moment one model is in
use: ``dvc artifacts get . model --stage champion``.

In a project below the top folder of its repository, at ``vision/birds``, these are the branch
``champion-vision-birds`` and the tags ``vision/birds=model@v0.0.2`` and so on, as DVC has it.

``python -m experiments.registry`` lists them. With ``--use v0.0.1`` it goes back, with ``--retire``
it begins anew, and with ``--fetch FOLDER`` it puts the bundle of the one in use there.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from experiments.dvc_project import ProjectError, fetch, git, git_folder, git_or_none, identity
from stages import printable

if TYPE_CHECKING:  # slow, and who finds nothing new does not need it
    from gto.base import Assignment, Unassignment
    from gto.registry import GitRegistry

MODEL, STAGE, BRANCH = "model", "champion", "champion"
BUNDLE = "models/bundle"


class Author(TypedDict):
    """Who makes a tag, as GTO takes it."""

    author: str
    author_email: str


@dataclass(frozen=True)
class Version:
    """A model that was promoted.

    Attributes:
        name: ``v0.0.2``.
        rev: its commit.
        message: that commit's first line.
        author: whose Git made the tag, as it says, and when. Nobody has signed it.
        run: Prefect's, that promoted it; empty: none is named.
    """

    name: str
    rev: str
    message: str
    author: str = ""
    run: str = ""


class Registry:
    """The models of the project in the folder ``root``.

    Attributes:
        model: the name that DVC's registry has for it, ``vision/birds:model``.
        branch: the one that promoted models are commits of.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._top, subdirectory = git_folder(self.root)
        self.model, self.branch = MODEL, BRANCH
        if subdirectory.name:
            path = subdirectory.as_posix()
            self.model = f"{path}:{MODEL}"
            self.branch = f"{BRANCH}-{path.replace('/', '-')}"
            if not re.fullmatch(r"[\w./-]+", path, re.ASCII):
                raise ProjectError(
                    f"DVC's model registry cannot name a model in {path}: letters of English, "
                    "digits and any of _ . - are all that the folder's name may hold"
                )
        self._tag = self.model.replace(":", "=")

    def versions(self) -> list[Version]:
        """All models that were promoted, the first one first."""
        with self._gto() as registry:
            artifact = registry.find_artifact(self.model, create_new=True)
            registered = [each for each in artifact.get_versions() if each.is_registered]
            versions = [(each.version, each.commit_hexsha) for each in registered]
        return [self._version(name, rev) for name, rev in reversed(versions)]

    def _version(self, name: str, rev: str) -> Version:
        what = "--format=%s%x00%(trailers:key=Run,valueonly,separator=%x20)"
        message, run = git(self.root, "log", "-1", what, rev).split("\0")
        who = "--format=%(taggername) %(taggeremail), %(creatordate:iso)"
        tag = f"refs/tags/{self._tag}@{name}"
        return Version(name, rev, message, git(self.root, "for-each-ref", who, tag), run)

    def is_empty(self) -> bool:
        """Whether no model is in use; mostly asks Git alone, for GTO takes a while to start."""
        if not git(self.root, "tag", "--list", f"{self._tag}#{STAGE}#*"):
            return True
        taken_back = git(self.root, "tag", "--list", f"{self._tag}#{STAGE}!#*")
        return bool(taken_back) and self.champion() is None

    def champion(self) -> Version | None:
        """The model in use; None before the first was promoted, and after one was retired."""
        with self._gto() as registry:
            artifact = registry.find_artifact(self.model, create_new=True)
            assigned = artifact.get_vstages().get(STAGE)
            rev = assigned[0].commit_hexsha if assigned else None
        return next((v for v in self.versions() if v.rev == rev), None)

    def tip(self) -> str | None:
        """The commit that the next promoted model comes after; None before the first.

        It is the last of the branch, as this repository or a remote had it, or, where nobody has
        the branch, the model in use.

        Raises:
            ProjectError: the branch is checked out, or the branches have gone apart.
        """
        worktrees = git(self.root, "worktree", "list", "--porcelain").split("\n\n")
        checked_out = [each for each in worktrees if "\nprunable" not in each]
        if any(f"branch refs/heads/{self.branch}" in each.splitlines() for each in checked_out):
            raise ProjectError(
                f"The branch {self.branch} is checked out, here or in another worktree, and a "
                "model is promoted by moving it; check out another"
            )
        heads = (f"refs/heads/{self.branch}", f"refs/remotes/*/{self.branch}")
        refs = git(self.root, "for-each-ref", "--format=%(objectname) %(refname:short)", *heads)
        names = {rev: name for rev, name in map(str.split, refs.splitlines())}
        if not names:
            champion = self.champion()
            return champion.rev if champion else None
        tips = git(self.root, "merge-base", "--independent", *names).splitlines()
        if len(tips) > 1:
            raise ProjectError(self._apart([names[tip] for tip in tips]))
        return tips[0]

    def _apart(self, names: list[str]) -> str:
        """What to do where several branches of models each have one that the others have not."""
        theirs = next(name for name in names if name != self.branch)
        mine = git(self.root, "tag", "--no-merged", theirs, "--list", f"{self._tag}[@#]*")
        return (
            f"{' and '.join(names)} have gone apart, each with models of its own, and nothing is "
            f"promoted before they are one. To go on where {theirs} is: git branch --force "
            f"{self.branch} {theirs} && git tag --delete {' '.join(mine.split())} && git fetch "
            "--tags. The models of here stay in DVC's cache"
        )

    def promote(self, rev: str, base: str, message: str) -> Version:
        """Puts the model of the commit ``rev`` in use.

        Args:
            rev: an experiment's commit.
            base: the commit it began at; with the last promoted one a parent of the new commit.
            message: of the new commit; its first line is shown in lists.

        Raises:
            ProjectError: as ``tip``, or Git refuses.
        """
        tip = self.tip()
        if tip and self._holds_the_same(tip, rev):
            commit = tip  # a run was killed between this commit and its tags
        else:
            parents = dict.fromkeys(parent for parent in (tip, base) if parent)
            options = [option for parent in parents for option in ("-p", parent)]
            commit = git(self.root, "commit-tree", f"{rev}^{{tree}}", *options, "-m", message)
        head = f"refs/heads/{self.branch}"
        before = git_or_none(self.root, "rev-parse", "--verify", "--quiet", head)
        git(self.root, "update-ref", head, commit, before or "0" * 40)
        self.use(commit)
        champion = self.champion()
        assert champion is not None
        return champion

    def use(self, commit: str) -> None:
        """Puts a commit of the branch in use; gives it a version where it has none."""
        with self._gto() as registry:
            artifact = registry.find_artifact(self.model, create_new=True)
            version = artifact.find_version(commit_hexsha=commit)
            if version is None or not version.is_registered:
                registry.register(self.model, commit, simple=True, **self._author)
            self._be_last(
                registry.assign(self.model, STAGE, rev=commit, force=True, **self._author)
            )

    def roll_back(self, name: str) -> None:
        """Puts the version ``name`` in use again; ProjectError where there is none of that name."""
        versions = {version.name: version for version in self.versions()}
        if name not in versions:
            known = ", ".join(versions) or "there is none yet"
            raise ProjectError(f"There is no version {name} of the {MODEL}: {known}")
        from gto.versions import SemVer

        # In use is, for GTO, the highest version of those that are assigned, and for DVC the one of
        # the latest tag.
        self._take_back(lambda version: SemVer(version) > SemVer(name))
        self.use(versions[name].rev)

    def retire(self) -> None:
        """Leaves no model in use: the next one that is trained is promoted as it is.

        The versions stay, and ``roll_back`` puts one of them in use again. DVC knows no such state:
        ``dvc artifacts get --stage`` still gives the model that was in use.
        """
        self._take_back(lambda _: True)

    def _take_back(self, concerns: Callable[[str], bool]) -> None:
        """Puts the highest versions out of use, as long as it ``concerns`` them."""
        with self._gto() as registry:
            artifact = registry.find_artifact(self.model, create_new=True)
            assigned = artifact.get_vstages(versions_per_stage=-1).get(STAGE, [])
            for each in takewhile(lambda each: concerns(each.version), assigned):
                version = each.version
                self._be_last(registry.unassign(self.model, STAGE, version=version, **self._author))

    def _be_last(self, event: "Assignment | Unassignment") -> None:
        """Gives a new tag a time after that of the others: GTO and DVC go by the time of tags, and
        the clock of a machine may have been set back."""
        tags = f"refs/tags/{self._tag}[@#]*"
        refs = git(self.root, "for-each-ref", "--format=%(creatordate:unix) %(refname)", tags)
        times = {name: int(at) for at, name in map(str.split, refs.splitlines())}
        last = max(
            (at for name, at in times.items() if name != f"refs/tags/{event.tag}"), default=0
        )
        if times[f"refs/tags/{event.tag}"] <= last:
            commit = f"{event.tag}^{{commit}}"
            again = ("tag", "--force", "--annotate", "--message", event.message, event.tag, commit)
            git(self.root, *again, **identity(self.root), GIT_COMMITTER_DATE=f"@{last + 1} +0000")

    def fetch(self, folder: Path) -> Version:
        """Puts the bundle of the model in use at ``folder``, in place of what is there.

        ``folder`` is whole at every moment, but for one in which it is not there.

        Raises:
            ProjectError: no model is in use, or its bundle is not to be had.
        """
        champion = self.champion()
        if champion is None:
            raise ProjectError("no model is in use: python -m flows.retrain")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
            beside = Path(name)
            fetch(self.root, champion.rev, champion.name, [BUNDLE], beside)
            if folder.exists():
                folder.rename(beside / "before")  # a folder cannot be renamed onto another
            (beside / Path(BUNDLE).name).rename(folder)
        return champion

    @property
    def _author(self) -> Author:
        variables = identity(self.root)
        return Author(
            author=variables["GIT_COMMITTER_NAME"], author_email=variables["GIT_COMMITTER_EMAIL"]
        )

    def _holds_the_same(self, one: str, other: str) -> bool:
        trees = (f"{one}^{{tree}}", f"{other}^{{tree}}")
        return git_or_none(self.root, "diff-tree", "--quiet", *trees) is not None

    @contextmanager
    def _gto(self) -> Iterator["GitRegistry"]:
        from gto.exceptions import GTOException
        from gto.registry import GitRegistry

        try:
            with GitRegistry.from_url(str(self._top)) as registry:
                yield registry
        except GTOException as error:
            raise ProjectError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.registry",
        description="List the models that were promoted; put one of them in use again; fetch the "
        "bundle of the one in use.",
    )
    parser.add_argument("--use", metavar="VERSION", help="put this one in use: v0.0.1")
    parser.add_argument(
        "--retire", action="store_true", help="put none in use: the next one begins anew"
    )
    parser.add_argument(
        "--fetch", metavar="FOLDER", type=Path, help="put the bundle of the one in use there"
    )
    options = parser.parse_args(arguments)
    try:
        registry = Registry(Path.cwd())
        if options.retire:
            registry.retire()
        if options.use:
            registry.roll_back(options.use)
        if options.fetch:
            registry.fetch(options.fetch)
        champion = registry.champion()
        for version in registry.versions():
            mark = "→" if version == champion else " "
            origin = f"by {version.author}" + (f", run {version.run}" if version.run else "")
            line = f"{mark} {version.name}  {version.rev[:7]}  {version.message}  ({origin})"
            print(printable(line))
        if champion is None:
            print("no model is in use: python -m flows.retrain")
    except ProjectError as error:
        sys.exit(printable(f"registry: {error}"))


if __name__ == "__main__":
    main()
