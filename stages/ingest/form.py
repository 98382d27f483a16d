"""What photos are brought to. Checking parameters needs it, and is quick: no NumPy here."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

Side = Annotated[int, Field(ge=8, le=4096)]  # of a photo, in pixels

# How pixels deeper than 8 bits become 8: from the range of their type, from the photo's own lowest
# and highest value, or from these two values.
Depth = Literal["type", "photo"] | tuple[float, float]

# How photos become square: drawn out, their middle alone, or with bars beside them.
Fit = Literal["stretch", "crop", "pad"]

# How photos are kept: their pixels, or files of JPEG.
Codec = Literal["raw", "jpeg"]


class Form(NamedTuple):
    """What photos are brought to: their height and width in pixels, how deep ones are scaled, and
    how they become square.

    A model has to see all photos in the form of those that it learnt from.
    """

    size: int
    depth: Depth = "type"
    fit: Fit = "stretch"


def shares(fit: Fit, width: int, height: int) -> tuple[float, float]:
    """What the sides of a photo's square are of its width and of its height.

    The two have one middle. Less than 1: the rest of the photo is cut away; more: there are bars.
    """
    if fit == "stretch":
        return 1.0, 1.0
    side = min(width, height) if fit == "crop" else max(width, height)
    return side / width, side / height


def as_depth(plain: Any) -> Depth:
    """A ``Depth`` that JSON has made a list of."""
    return (plain[0], plain[1]) if isinstance(plain, list) else plain
