"""Messages beside the results: on stderr, so that stdout holds nothing else."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import typer

from stages import printable
from tagloom.inputs import Unreadable
from tagloom.results import in_a_line


def note(text: str) -> None:
    print(f"tagloom: {printable(text)}", file=sys.stderr)


def list_unreadable(unreadable: Sequence[Unreadable], total: int, strict: bool) -> None:
    """Lists what could not be read, with the reasons.

    Raises:
        typer.Exit: with 1, when it is all there is, or ``strict`` says so.
    """
    if not unreadable:
        return
    note(f"{len(unreadable):,} of {total:,} could not be read:")
    for name, reason in unreadable:
        print(f"  {in_a_line(name)}: {printable(reason)}", file=sys.stderr)
    if strict or len(unreadable) == total:
        raise typer.Exit(1)


def memory_for(batch_size: int, onnx: bool) -> AbstractContextManager[None]:
    """Says what to do where a GPU is too small for what is computed in the block."""
    if onnx:
        return nullcontext()
    from stages.network.network import memory_for

    return memory_for("--batch-size", batch_size)
