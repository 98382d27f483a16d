"""What a project of one's own takes of Tagloom, and how it comes by what is newer.

All of it is one commit, which is merged; an update is a further one on top of that. So Git joins
what Tagloom has changed with what the project has, and nobody's own lines are lost.
"""

import io
import re
import subprocess
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from experiments.dvc_project.git import git, git_folder, git_or_none
from experiments.look.base import PACKED
from experiments.plan import PARAMS
from stages import UserError
from stages.params import flatten

ROOT = Path(__file__).parents[1]
ASKING = ["--no-optional-locks"]  # git status writes an index otherwise
TRAILER = "Tagloom-Template"  # of the commits, with the project's folder in its repository
# What is about Tagloom itself, or about its sample.
LEFT_OUT = re.compile(
    r"\.ci/|\.github/|\.pre-commit|tests/project/|metrics/|dvc\.lock$|.*\.dvc$|.*\.png$"
    r"|(README|CHANGELOG|CONTRIBUTING)\.md$"
)


class Template(NamedTuple):
    """Tagloom's files as a project takes them.

    Attributes:
        commit: of Tagloom.
        archive: a zip of all its files.
    """

    commit: str
    archive: bytes

    def read(self, name: str) -> str:
        with zipfile.ZipFile(io.BytesIO(self.archive)) as files:
            return files.read(name).decode("utf-8")

    def params(self) -> Any:
        """The content of its ``params.yaml``, with comments."""
        return YAML().load(self.read(PARAMS))

    def names(self) -> list[str]:
        """The files of a project, as paths in it."""
        with zipfile.ZipFile(io.BytesIO(self.archive)) as files:
            return [n for n in files.namelist() if n[-1] != "/" and not LEFT_OUT.match(n)]

    def unpack(self, folder: Path) -> None:
        """Writes the files of a project into ``folder``."""
        with zipfile.ZipFile(io.BytesIO(self.archive)) as files:
            for name in self.names():
                path = Path(files.extract(name, folder))
                is_program = files.getinfo(name).external_attr >> 16 & 0o100
                path.chmod(0o755 if is_program else 0o644)


@cache
def template() -> Template:
    """That of the installed package, or of the commit that this checkout is at.

    Raises:
        UserError: there is neither, or this is the copy that a project has of its own.
    """
    if PACKED.exists():
        archive = PACKED.read_bytes()
    else:
        command = ["git", "-C", str(ROOT), "archive", "--format=zip", "HEAD"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            reason = done.stderr.decode("utf-8", "replace").strip()
            raise UserError(f"{ROOT} is no checkout of Tagloom to make projects from: {reason}")
        if last_commit(*git_folder(ROOT)):
            raise UserError(
                f"{ROOT} is itself a project that tagloom init made; ask the Tagloom that is "
                "installed: the command tagloom, not python -m tagloom"
            )
        archive = done.stdout
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        return Template(files.comment.decode(), archive)


def commit(top: Path, below: Path, source: Template, parent: str | None = None) -> str:
    """A commit of the template's files in the repository ``top``, which no branch holds yet.

    Args:
        below: where in the repository the project's folder is.
        parent: the last such commit, where there is one.
    """
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder:
        files = Path(folder) / "files"
        (files / below).mkdir(parents=True)
        source.unpack(files / below)
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        as_is = ["-c", "core.autocrlf=false", f"--work-tree={files}"]
        git(top, *as_is, "add", "--all", "--force", ".", **index)
        tree = git(top, "write-tree", **index)
    message = f"Take Tagloom as of {source.commit[:12]}\n\n{TRAILER}: {below.as_posix()}"
    parents = ["-p", parent] if parent else []
    return git(top, "commit-tree", tree, *parents, "-m", message)


def last_commit(top: Path, below: Path) -> str | None:
    """The commit of the template that was merged last; None where there is none."""
    trailer = f"{TRAILER}: {below.as_posix()}"
    commits = git(top, "log", f"--grep={trailer}", "--fixed-strings", "--format=%H %B%x00", "HEAD")
    for each in commits.split("\0"):
        rev, _, message = each.strip().partition(" ")
        if message.endswith(trailer):
            return rev
    return None


def update(top: Path, below: Path, source: Template) -> str:
    """Merges what is new in the template; returns what there is to say of it.

    In ``params.yaml`` the project's own values stay, whatever stands around them in the new one.

    Raises:
        UserError: the project was not made from a template, something in it is not committed, or
            both have changed the same lines; then Git's merge waits for someone to settle it.
    """
    if (last := last_commit(top, below)) is None:
        raise UserError(f"{top / below} was not made by tagloom init, so nothing can be updated")
    check_committed(top)
    new = commit(top, below, source, last)
    if git(top, "rev-parse", f"{new}^{{tree}}") == git(top, "rev-parse", f"{last}^{{tree}}"):
        return f"This is the newest already: Tagloom as of {source.commit[:12]}"
    git_or_none(top, "merge", "--quiet", "--no-ff", "--no-commit", new)
    params = below / PARAMS
    if git(top, "diff", "--name-only", last, new, "--", str(params)):
        was, own = (git(top, "show", f"{rev}:{params.as_posix()}") for rev in (last, "HEAD"))
        (top / params).write_text(with_own_values(source.read(PARAMS), was, own), "utf-8")
        git(top, "add", "--", str(params))
    if torn := git(top, "diff", "--name-only", "--diff-filter=U"):
        raise UserError(
            f"both Tagloom and you have changed {', '.join(torn.splitlines())}: settle it, then "
            "git add and git commit; or git merge --abort"
        )
    git(top, "commit", "--quiet", "--no-edit")
    return f"Tagloom as of {source.commit[:12]} is merged; dvc repro runs what that changes"


def with_own_values(text: str, was: str, own: str) -> str:
    """The text of a new ``params.yaml``, with the values that a project has set itself.

    Args:
        was: the template's text that the project began with.
        own: the project's.
    """
    yaml = YAML()
    content, before, after = yaml.load(text), flatten(yaml.load(was)), flatten(yaml.load(own))
    kept = {key: value for key, value in after.items() if before.get(key, ...) != value}
    set_values(content, {key: value for key, value in kept.items() if key in flatten(content)})
    return written(content)


def set_values(content: dict[str, Any], values: dict[str, object]) -> None:
    """Sets values in the content of ``params.yaml``, by whole key; its comments stay."""
    for key, value in values.items():
        *sections, name = key.split(".")
        section = content
        for part in sections:
            section = section[part]
        section[name] = value


def written(content: dict[str, Any]) -> str:
    """The content of ``params.yaml`` as DVC writes it."""
    text = io.StringIO()
    YAML().dump(content, text)
    return text.getvalue()


def check_committed(top: Path) -> None:
    """Raises a ``UserError`` where files that Git knows are not as the last commit has them."""
    if changed := git(top, *ASKING, "status", "--porcelain", "--untracked-files=no"):
        names = ", ".join(line.split(maxsplit=1)[1] for line in changed.splitlines()[:5])
        raise UserError(f"{names}: commit or stash what has changed in {top} first")
