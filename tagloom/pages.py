"""Tables for people."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tagloom.results import in_a_line

PIPED = 120  # characters of a line where there is no terminal


def page() -> Console:
    """What writes to stdout; text is taken as it is, whatever brackets it holds."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPED
    return console


def table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]], figures: int = 0
) -> Table:
    """Rows under ``columns``, of which the last ``figures`` are aligned as figures are."""
    made = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        show_header=any(columns),
    )  # fmt: skip
    for place, name in enumerate(columns):
        is_figure = place >= len(columns) - figures
        made.add_column(name, justify="right" if is_figure else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(in_a_line(cell)) for cell in row))
    return made
