"""``tagloom look``: what a folder of photos is, and the lines of ``params.yaml`` that read it."""

from pathlib import Path
from typing import Annotated

import typer

from stages import printable
from tagloom import options


def look(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Photos, with what says which labels they have.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ],
    sheet: Annotated[
        Path | None,
        options.output_file(
            "Draw a few photos with the labels that would be read, as a PNG.", "--sheet"
        ),
    ] = None,
) -> None:
    """Say what a folder of photos is, and the lines of params.yaml that read it.

    It reads names and tables, opens a few photos, and changes nothing.

    [bold]Examples[/bold]
      tagloom look ~/birds
      tagloom look ~/birds --sheet birds.png
    """
    from experiments.look import lines, write_sheet
    from experiments.look import look as looked
    from experiments.look.base import base

    found = looked(folder, base())
    for line in lines(found):
        print(printable(line))
    if sheet:
        write_sheet(found, sheet)
        print(f"\n{sheet} shows {len(found.sample)} photos with the labels that are read")
