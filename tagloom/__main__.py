"""``tagloom``: the subcommands, and how they end.

Only what ``--help`` needs is imported here and at the top of the modules of the subcommands.
"""

import sys
import warnings
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from stages import UserError, printable
from tagloom.compare_models import compare
from tagloom.explain import explain
from tagloom.export import export
from tagloom.info import info
from tagloom.init import init, update
from tagloom.look import look
from tagloom.next import next_
from tagloom.predict import predict
from tagloom.serve.command import serve


class Commands(TyperGroup):
    """Turns errors that are not bugs into one sentence and exit status 1."""

    # Typer calls it with a Context of its own, whose base class is another one with its version.
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:  # it may name labels, which others have chosen
            error.message = printable(error.message)
            raise
        except UserError as error:
            _fail(str(error))
        except BrokenPipeError:  # whoever reads the results has seen enough
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _fail(f"{where}{error.strerror or error}")


def _fail(sentence: str) -> NoReturn:
    print(f"tagloom: {printable(sentence)}", file=sys.stderr)
    raise typer.Exit(1)


app = typer.Typer(
    cls=Commands,
    name="tagloom",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("tagloom"))
        raise typer.Exit


@app.callback()
def tagloom(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Put a trained model to work on photos that it has never seen.

    [bold]init[/bold] makes a project that trains one. It is a bundle, which the pipeline
    makes: [bold]models/bundle[/bold] in the project, or the folder that --bundle or the
    variable TAGLOOM_BUNDLE names.

    [bold]Examples[/bold]
      tagloom predict photos
      tagloom explain holiday.jpg
      tagloom info
    """


for command in (look, init, update, predict, explain, next_, info, export, compare, serve):
    app.command(command.__name__.rstrip("_"))(command)


def main() -> None:
    # Pillow warns of broken notes and the like; photos that cannot be read are listed anyway.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    app(prog_name="tagloom")


if __name__ == "__main__":
    main()
