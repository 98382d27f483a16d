"""The options that several subcommands share. Nothing here takes time to import."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Format = Literal["table", "csv", "json", "parquet"]

BUNDLE = Path("models/bundle")
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def file_to_write(path: Path | None) -> Path | None:
    """``path``, or what it links to: files are written beside their place and then renamed.

    Raises:
        typer.BadParameter: it is a device or a pipe, whose place the file would take.
    """
    if path is None:
        return None
    if path.exists() and not path.is_file():
        raise typer.BadParameter(f"{path} is not a file")
    return path.resolve() if path.is_symlink() else path


def with_those_of_stdin(paths: list[Path]) -> list[Path]:
    """``paths``, with those that stdin lists in place of ``-``.

    A line each; where there are NULs, as ``find -print0`` writes, these separate them instead.

    Raises:
        typer.BadParameter: one of all is not there, or stdin is to be read twice.
    """
    stdin = Path("-")
    if paths.count(stdin) > 1:
        raise typer.BadParameter("- is there twice, but there is one input")
    if stdin in paths:
        listed, place = sys.stdin.buffer.read(), paths.index(stdin)
        between = b"\0" if b"\0" in listed else b"\n"
        names = [os.fsdecode(name) for name in listed.split(between) if name.strip()]
        paths = [*paths[:place], *map(Path, names), *paths[place + 1 :]]
    for path in paths:
        if not path.exists():
            raise typer.BadParameter(f"'{path}' does not exist")
    return paths


def output_file(help: str, *names: str) -> Any:
    """An option, called as in ``names``, for a file that the command writes."""
    return typer.Option(
        *names,
        metavar="FILE",
        help=help,
        dir_okay=False,
        callback=file_to_write,
        show_default=False,
    )


Photos = Annotated[
    list[Path],
    typer.Argument(
        metavar="PHOTO|FOLDER|CSV...",
        help="Photos; folders, with all below them; CSVs with a column [b]photo[/b] (or ImageID) "
        "and, where there are captions, [b]caption[/b]; [b]-[/b]: paths of such, a line each, from "
        "the input.",
        callback=with_those_of_stdin,
        readable=False,  # those that cannot be read are listed at the end
        show_default=False,
    ),
]
PhotosBelow = Annotated[
    Path | None,
    typer.Option(
        "--photos",
        metavar="FOLDER",
        help="Where the paths in a CSV start; by default, in the CSV's own folder.",
        exists=True,
        file_okay=False,
        show_default=False,
    ),
]
CaptionsFile = Annotated[
    Path | None,
    typer.Option(
        "--captions",
        metavar="FILE",
        help="A CSV with the columns photo and caption, for photos that come without.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Bundle = Annotated[
    Path,
    typer.Option(
        metavar="PATH",
        help="The model: what the stage [b]bundle[/b] of the pipeline has made.",
        envvar="TAGLOOM_BUNDLE",
    ),
]
Onnx = Annotated[
    bool, typer.Option("--onnx", help="Compute with ONNX Runtime: starts sooner, on the CPU.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 when any photo could not be read.")
]
BatchSize = Annotated[
    int,
    typer.Option(min=1, max=4096, metavar="N", help="Photos that the model sees at a time."),
]
