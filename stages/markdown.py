"""Text of others in Markdown of ours."""

import string
from typing import Any

from stages import printable

ESCAPED = str.maketrans(
    {mark: f"\\{mark}" for mark in string.punctuation if mark not in ",-"}
    | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}  # which are no markup in HTML either
)


def plain(text: Any) -> str:
    """Any text as a piece of one line of Markdown that shows just it."""
    return printable(" ".join(str(text).split())).translate(ESCAPED)
