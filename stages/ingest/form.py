"""What photos are brought to. Checking parameters needs it, and is quick: no NumPy here."""

from typing import Any, Literal, NamedTuple

# How pixels deeper than 8 bits become 8: from the range of their type, from the photo's own lowest
# and highest value, or from these two values.
Depth = Literal["type", "photo"] | tuple[float, float]


class Form(NamedTuple):
    """What photos are brought to: their height and width in pixels, and how deep ones are scaled.

    A model has to see all photos in the form of those that it learnt from.
    """

    size: int
    depth: Depth = "type"


def as_depth(plain: Any) -> Depth:
    """A ``Depth`` that JSON has made a list of."""
    return (plain[0], plain[1]) if isinstance(plain, list) else plain
