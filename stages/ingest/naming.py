"""What labels may be called, and when two names are one."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from stages import UserError

SEPARATOR = "|"  # between the labels of a CSV's cell, where names may hold blanks
# Control characters, line breaks, halves of characters.
NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def clean(name: str) -> str:
    """``name`` as labels are written: composed (Unicode's NFC), without blanks around it.

    Names that look the same are the same then, whatever keyboard or file system they come from.
    """
    return unicodedata.normalize("NFC", name.strip())


def named(label: str, names: Sequence[str]) -> str | None:
    """The one of ``names`` that is meant by ``label``, as somebody types it; None: there is none.

    A model that is older than ``clean`` may have names that are not clean.
    """
    if label in names:
        return label
    return next((name for name in names if clean(name) == clean(label)), None)


def fault(name: str) -> str | None:
    """Why no label can have ``name``, which is clean; None: one can."""
    if not name:
        return "a label's name is empty"
    if SEPARATOR in name:
        return (
            f"the label {name!r} holds {SEPARATOR}, which stands between labels in corrections and "
            "predictions; give it another name or, if it is several labels, set what separates "
            "them (ingest.table.separator)"
        )
    if NO_TEXT.search(name):
        return f"the label {name!r} holds a line break or a control character; give it another name"
    return None


def check(names: Iterable[str], where: str) -> None:
    """For a source whose columns, lists or categories are the labels: checks what they are called.

    Raises:
        UserError: no label can have one of the names; ``where`` says whose they are.
    """
    for name in names:
        if reason := fault(clean(name)):
            raise UserError(f"{where}: {reason}")
