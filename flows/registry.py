"""The model in use, and those that were before it, as Git has them.

Each is a commit on the branch ``champion``, with its metrics, parameters and ``dvc.lock``. GTO's
tags, which DVC's model registry reads, say the rest: ``model@v0.0.2`` is a version, and
``model#champion#3`` puts it in use. That tag is made last, so that at every moment one model is in
use: ``dvc artifacts get . model --stage champion``.

``python -m flows.registry`` lists them; ``python -m flows.registry --use v0.0.1`` goes back;
``python -m flows.registry --fetch FOLDER`` puts the bundle of the one in use there.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from flows.dvc_project import ProjectError, fetch, git, identity

if TYPE_CHECKING:  # slow, and who finds nothing new does not need it
    from gto.registry import GitRegistry

MODEL, STAGE, BRANCH = "model", "champion", "champion"
BUNDLE = "models/bundle"


@dataclass(frozen=True)
class Version:
    """A model that was promoted: its name, ``v0.0.2``; its commit; the first line said of it."""

    name: str
    rev: str
    message: str


class Registry:
    """The models of the project in the folder ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def versions(self) -> list[Version]:
        """All models that were promoted, the first one first."""
        with self._gto() as registry:
            artifact = registry.find_artifact(MODEL, create_new=True)
            found = [v for v in artifact.get_versions() if v.is_registered]
            versions = [(v.version, v.commit_hexsha) for v in found]
        return [
            Version(name, rev, git(self.root, "log", "-1", "--format=%s", rev) or "")
            for name, rev in reversed(versions)
        ]

    def is_empty(self) -> bool:
        """Whether no model was ever in use; Git knows, and GTO takes a while to start."""
        return not git(self.root, "tag", "--list", f"{MODEL}#{STAGE}#*")

    def champion(self) -> Version | None:
        """The model in use; None before the first was promoted."""
        with self._gto() as registry:
            found = registry.find_artifact(MODEL, create_new=True).get_vstages().get(STAGE)
            rev = found[0].commit_hexsha if found else None
        return next((v for v in self.versions() if v.rev == rev), None)

    def promote(self, rev: str, base: str, message: str) -> Version:
        """Puts the model of the commit ``rev`` in use.

        Args:
            rev: an experiment's commit.
            base: the commit it began at; with the last promoted one a parent of the new commit.
            message: of the new commit; its first line is shown in lists.

        Raises:
            ProjectError: the branch is checked out, or Git refuses.
        """
        tip = git(self.root, "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}")
        if tip and self.is_same(tip, rev):
            commit = tip  # a run was killed between this commit and its tags
        else:
            commit = self._commit(rev, [parent for parent in (tip, base) if parent], message, tip)
        self.use(commit)
        return self.champion()

    def use(self, commit: str) -> None:
        """Puts a commit of the branch in use; gives it a version where it has none."""
        with self._gto() as registry:
            found = registry.find_artifact(MODEL, create_new=True).find_version(
                commit_hexsha=commit
            )
            if found is None or not found.is_registered:
                registry.register(MODEL, commit, simple=True, **self._who)
            registry.assign(MODEL, STAGE, rev=commit, force=True, **self._who)

    def roll_back(self, name: str) -> None:
        """Puts the version ``name`` in use again; ProjectError where there is none of that name."""
        versions = {version.name: version for version in self.versions()}
        if name not in versions:
            known = ", ".join(versions) or "there is none yet"
            raise ProjectError(f"There is no version {name} of the {MODEL}: {known}")
        from gto.versions import SemVer

        # In use is, for GTO, the highest version of those that are assigned, and for DVC the one of
        # the latest tag.
        with self._gto() as registry:
            assigned = registry.find_artifact(MODEL).get_vstages(versions_per_stage=-1)[STAGE]
            newer = takewhile(lambda each: SemVer(each.version) > SemVer(name), assigned)
            for each in newer:
                registry.unassign(MODEL, STAGE, version=each.version, **self._who)
        self.use(versions[name].rev)

    def fetch(self, folder: Path) -> Version:
        """Puts the bundle of the model in use at ``folder``, in place of what is there.

        ``folder`` is whole at every moment, but for one in which it is not there.

        Raises:
            ProjectError: no model was promoted, or its bundle is not to be had.
        """
        champion = self.champion()
        if champion is None:
            raise ProjectError("no model was promoted yet: python -m flows.retrain")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
            room = Path(name)
            fetch(self.root, champion.rev, champion.name, [BUNDLE], room)
            if folder.exists():
                folder.rename(room / "before")  # a folder cannot be renamed onto another
            (room / Path(BUNDLE).name).rename(folder)
        return champion

    @property
    def _who(self) -> dict[str, str]:
        known = identity(self.root)
        return {
            "author": known["GIT_COMMITTER_NAME"],
            "author_email": known["GIT_COMMITTER_EMAIL"],
        }

    def _commit(self, rev: str, parents: list[str], message: str, tip: str | None) -> str:
        if git(self.root, "symbolic-ref", "--quiet", "HEAD") == f"refs/heads/{BRANCH}":
            raise ProjectError(
                f"The branch {BRANCH} is checked out, and a model is promoted by moving it; check "
                "out another"
            )
        options = [option for parent in dict.fromkeys(parents) for option in ("-p", parent)]
        commit = git(self.root, "commit-tree", f"{rev}^{{tree}}", *options, "-m", message)
        before = tip or "0" * 40
        if (
            not commit
            or git(self.root, "update-ref", f"refs/heads/{BRANCH}", commit, before) is None
        ):
            raise ProjectError(f"Git could not add {rev} to the branch {BRANCH}")
        return commit

    def is_same(self, one: str, other: str) -> bool:
        """Whether two commits hold the same."""
        trees = (f"{one}^{{tree}}", f"{other}^{{tree}}")
        return git(self.root, "diff-tree", "--quiet", *trees) is not None

    @contextmanager
    def _gto(self) -> Iterator["GitRegistry"]:
        from gto.exceptions import GTOException
        from gto.registry import GitRegistry

        try:
            with GitRegistry.from_url(str(self.root)) as registry:
                yield registry
        except GTOException as error:
            raise ProjectError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.registry",
        description="List the models that were promoted; put one of them in use again; fetch the "
        "bundle of the one in use.",
    )
    parser.add_argument("--use", metavar="VERSION", help="put this one in use: v0.0.1")
    parser.add_argument(
        "--fetch", metavar="FOLDER", type=Path, help="put the bundle of the one in use there"
    )
    options = parser.parse_args(arguments)
    registry = Registry(Path.cwd())
    try:
        if options.use:
            registry.roll_back(options.use)
        if options.fetch:
            registry.fetch(options.fetch)
        champion = registry.champion()
        for version in registry.versions():
            mark = "→" if version == champion else " "
            print(f"{mark} {version.name}  {version.rev[:7]}  {version.message}")
        if champion is None:
            print("no model was promoted yet: python -m flows.retrain")
    except ProjectError as error:
        sys.exit(f"registry: {error}")


if __name__ == "__main__":
    main()
