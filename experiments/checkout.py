"""How the checkout differs from its commit: a retraining is of the commit."""

from collections.abc import Sequence
from pathlib import Path

from experiments.dvc_project import ProjectError, git, git_file
from experiments.plan import PARAMS, PlanError, differences, parse, read
from stages.params import flatten

DVC_FILES = ("dvc.yaml", "dvc.lock", ":(glob)**/?*.dvc", ".dvc/config", ".dvcignore")
DATA = "ingest."


def changed_params(root: Path, base: str) -> list[str]:
    """The parameters that ``params.yaml`` has otherwise than the commit ``base``, for people.

    Raises ProjectError where they would make other data: what is retrained then is not at all what
    whoever has set them thinks.
    """
    committed = flatten(parse(git_file(root, base, PARAMS) or "", PARAMS))
    try:
        params = read(root)
    except PlanError:  # somebody is at work on it
        return [PARAMS]
    changed = differences(params, committed)
    changed += [f"{key} {params[key]!r}, which is new" for key in params.keys() - committed.keys()]
    if data := [text for text in changed if text.startswith(DATA)]:
        raise ProjectError(
            f"What is retrained is the commit {base[:7]}, and {PARAMS} says other data than it "
            f"does: {', '.join(data)}. Commit {PARAMS}, or put it back (git checkout {PARAMS})"
        )
    return sorted(changed)


def changed_files(root: Path, sources: Sequence[str], photos: Path) -> list[str]:
    """Code, pipeline and ``.dvc`` files that are not as the commit has them, or not in it.

    Args:
        sources: paths that stages depend on and none of them makes.
        photos: the folder of the photos; these are taken as they are.
    """
    paths = [path for path in sources if not Path(path).is_relative_to(photos)]
    watched = [*DVC_FILES, *(path for path in paths if not Path(path).is_absolute())]
    changed = git(root, "diff", "--name-only", "--relative", "-z", "HEAD", "--", *watched)
    new = git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *watched)
    return sorted(filter(None, f"{changed}\0{new}".split("\0")))
