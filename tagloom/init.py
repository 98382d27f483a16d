"""``tagloom init`` and ``tagloom update``: a project of one's own, and what is newer in Tagloom.

The one part of the command that knows Git and DVC; it asks ``experiments``.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from stages import UserError, printable

Care = Literal["copy", "link", "in-place"]


def init(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="The project's; there is none yet.", show_default=False
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Your photos, and what says their labels: see [b]tagloom look[/b].",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    care: Annotated[
        Care,
        typer.Option(
            "--photos-by",
            help="DVC keeps a [b]copy[/b], so that each commit has its photos; or a [b]link[/b] "
            "leads to them; or params.yaml names them [b]in-place[/b].",
        ),
    ] = "copy",
    into: Annotated[
        bool, typer.Option("--into", help="FOLDER is in a Git repository, which takes it in.")
    ] = False,
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="The pretrained backbone's, where the Hugging Face hub cannot be reached; "
            "without any, a small network learns from nothing.",
        ),
    ] = "pretrained",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make a project for your own photos: a Git and DVC repository with the pipeline.

    Looks at the photos first, says how they would be read and learnt from,
    and asks at a terminal. The photos stay as they are.

    [bold]Examples[/bold]
      tagloom init ../birds --photos ~/birds
      tagloom init vision/birds --into --photos /data/birds --photos-by in-place
    """
    from experiments.init import check_init, recipe
    from experiments.init import init as make
    from experiments.look import lines, look
    from experiments.template import template
    from stages.params import flatten

    asks = not yes and sys.stdin.isatty()
    if photos is None:
        photos = Path(_asked("Where are your photos?", "--photos", asks)).expanduser()
    if folder is None:
        folder = Path(_asked("Where is the project to be?", "FOLDER", asks)).expanduser()
    with _project_errors():
        source = template()
        check_init(folder, source, into)
        seen = look(photos, source.params())
        chosen = recipe(seen.photos, seen.captions > 0, source, weights)
        for line in (*lines(seen), *chosen.reasons):
            print(printable(line))
        if asks and not typer.confirm(f"Make the project {folder}?", default=True):
            raise typer.Exit(1)
        values = chosen.values | flatten({"ingest": seen.ingest})
        root = make(folder, photos, values, source, care, into)
    line = f"{folder} is a project now, and reads {root}. Next: cd {folder} && dvc repro"
    print(printable(line))


def update() -> None:
    """Merge what is new in Tagloom into the project in this folder.

    Its photos, parameters, figures and models stay. What Tagloom and the
    project have both changed, Git leaves for you to settle.

    [bold]Example[/bold]
      pip install --upgrade tagloom && tagloom update
    """
    from experiments.dvc_project import git_folder
    from experiments.template import template
    from experiments.template import update as merge

    with _project_errors():
        print(printable(merge(*git_folder(Path.cwd()), template())))


def _asked(question: str, option: str, asks: bool) -> str:
    if not asks:
        raise typer.BadParameter("is missing", param_hint=option)
    return str(typer.prompt(question))


@contextmanager
def _project_errors() -> Iterator[None]:
    from experiments.dvc_project import ProjectError

    try:
        yield
    except ProjectError as error:
        raise UserError(str(error)) from error
