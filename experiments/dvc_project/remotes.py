"""The outputs themselves: in the cache, in the workspace, in a remote."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from configobj import ConfigObj
from dvc.exceptions import DvcException
from dvc.repo import Repo

from experiments.dvc_project.errors import ProjectError, Transient
from experiments.dvc_project.output import ERROR, UNEXPECTED, output_lines
from experiments.dvc_project.processes import check_room, dvc


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
    except Exception as error:  # each kind of remote has its own
        # Of a folder, DVC says why in the cause.
        if isinstance(error.__cause__ or error, FileNotFoundError):
            raise ProjectError(
                f"{path} of {name} is neither in DVC's cache nor in a remote; where it was made, "
                "dvc push it to a remote that is named here (dvc remote list)"
            ) from error
        # Its own text may hold a password, and logs show what an error came from.
        raise Transient(_public(f"{path} of {name} cannot be read: {error}")) from None


def uncached_outputs(repo: Repo) -> list[str]:
    """Outputs that Git keeps, such as metrics; paths below the project's folder."""
    outs = [out for stage in repo.index.stages for out in stage.outs if not out.use_cache]
    return sorted(out.def_path for out in outs)


def share_cache(root: Path, clone: Path) -> None:
    """Gives ``clone`` the settings that only this machine has, and the cache, of ``root``."""
    local = root / ".dvc" / "config.local"
    if local.exists():
        shutil.copy(local, clone / ".dvc")
    # As DVC writes it, but for letters that are not English.
    settings = ConfigObj(str(clone / ".dvc" / "config.local"), encoding="utf-8")
    with Repo(root) as repo:
        settings.setdefault("cache", {})["dir"] = repo.cache.local_cache_dir
        # A folder's path counts from the file that it stands in; and DVC reads nothing of a remote
        # of which this machine has a password, and the commit no address.
        for name, remote in repo.config["remote"].items():
            settings.setdefault(f'remote "{name}"', {})["url"] = remote["url"]
    settings.write()


def check_outputs(repo: Repo) -> None:
    """Raises ProjectError where what stages write would come to lie outside of the project.

    A clone has the links that Git tracks, and they lead to where somebody's files are.
    """
    root = Path(repo.root_dir).resolve()
    files = [Path(repo.root_dir, "dvc.lock"), *(Path(out.fs_path) for out in repo.index.outs)]
    for path in files:
        real = path.resolve() if path.name == "dvc.lock" else path.parent.resolve() / path.name
        if not real.is_relative_to(root):
            raise ProjectError(
                f"{path.relative_to(repo.root_dir)} would be written to {real}, to where a link "
                "that Git tracks leads; let Git track a folder there. What is large can lie on "
                "another disk all the same: dvc cache dir"
            )


def check_out(repo: Repo, lock: IO[str] | None = None) -> None:
    """Brings outputs, and what DVC tracks, to where dvc.lock says they are.

    The remote is asked only for what the cache has not; Transient where it cannot be. What neither
    has is left out: the stage that makes it runs again.
    """
    try:
        outs = [out for out in repo.index.outs if out.use_cache and out.hash_info]
        # For each that it is given, DVC reads the whole of dvc.yaml and dvc.lock.
        changed = [out for out in outs if out.status()]
        if changed:
            repo.checkout([out.fs_path for out in changed], force=True, allow_missing=True)
        missing = [out.def_path for out in changed if out.status()]
    except DvcException as error:
        raise ProjectError(str(error)) from error
    if missing:
        command = ["pull", "--force", "--allow-missing", "--", *missing]
        _transfer("dvc pull", Path(repo.root_dir), command, lock)


def update(root: Path, file: str, lock: IO[str] | None = None) -> None:
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
        _transfer(f"dvc update {file}", root, ["update", "--", file], lock)
        if (stage.deps[0].def_fs_config or {}).get("version_aware"):
            # Or the experiment would not find them: DVC keeps versions of a bucket in a place of
            # their own, which an update leaves out.
            _transfer(f"dvc fetch {file}", root, ["fetch", "--", file], lock)
    elif missing:
        raise Transient(
            f"{file} tracks what is neither in DVC's cache nor in a remote: dvc push it from where "
            "it was added"
        )


def is_as_added(root: Path, file: str) -> bool:
    """Whether the folder that ``file``, a ``.dvc`` file, tracks is as it says; True without one.

    Goes by the number of files and of bytes: nothing is read.
    """
    try:
        with Repo(root) as repo:
            for out in repo.stage.load_one(str(root / file)).outs:  # one, or none where it is empty
                if out.is_dir_checksum and out.exists:
                    paths = repo.dvcignore.find(out.fs, out.fs_path)
                    sizes = [os.path.getsize(path) for path in paths]
                    return (len(sizes), sum(sizes)) == (out.meta.nfiles, out.meta.size)
        return True
    except OSError:  # somebody is at work in it, or it may not be read
        return False
    except DvcException as error:
        raise ProjectError(str(error)) from error


def push(root: Path, lock: IO[str] | None = None) -> str | None:
    """Sends what the default remote lacks of the outputs, and of what DVC tracks, there.

    Returns the remote's name; None where there is none. Raises Transient where the remote is out of
    reach or fails midway: what has arrived stays, and the next time the rest is sent. ProjectError
    where it is one that keeps versions itself.
    """
    with Repo(root) as repo:
        name: str | None = repo.config["core"].get("remote")
        settings = repo.config["remote"].get(name, {})
    if name is None:
        return None
    if settings.get("version_aware") or settings.get("worktree"):
        raise ProjectError(
            f"The remote {name} keeps versions itself (version_aware, worktree): what is pushed "
            "there changes dvc.lock, and a commit that has been judged cannot change any more"
        )
    _transfer(f"dvc push to the remote {name}", root, ["push"], lock)
    return name


def _transfer(what: str, root: Path, arguments: list[str], lock: IO[str] | None) -> None:
    """Runs a command of DVC's that talks to other places; Transient, with a reason, if it fails."""
    with dvc(root, arguments, lock) as process:
        errors = [text for text in output_lines(process) if text.startswith(ERROR)]
        if code := process.wait():
            # What went wrong with a file comes before how many files that was.
            ends = [errors[0], *errors[1:][-1:]] if errors else []
            texts = [each.removeprefix(ERROR).removeprefix(UNEXPECTED) for each in ends]
            reason = "; ".join(texts) or f"it ended with exit status {code}"
            raise Transient(_public(f"{what} failed: {reason}"))


def _public(text: str) -> str:
    """``text`` without the passwords in its addresses."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)
