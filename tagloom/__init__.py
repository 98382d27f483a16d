"""A trained model at work on photos that were never in the data set: the command, and ``load``.

It needs a bundle (``models/bundle/``), and of the stages only what reads it. A module a
subcommand; each imports what takes its time to import only once it is asked for.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tagloom.notebook import LoadedModel


def load(
    folder: str | Path = "models/bundle", runtime: Literal["torch", "onnx"] = "torch"
) -> "LoadedModel":
    """The model of a bundle, for a notebook or a program: ``load().predict(["1.jpg"])``.

    Args:
        runtime: ``torch`` computes on a GPU where there is one; ``onnx`` starts sooner.

    Raises:
        stages.UserError: the bundle cannot be read.
    """
    from tagloom.notebook import LoadedModel

    return LoadedModel(Path(folder), runtime)
