"""The section ``eda`` of ``params.yaml``: how much of the data is shown."""

from typing import Literal

from pydantic import BaseModel

from stages.params import Positive, Section


class Eda(Section):
    top_words: Positive
    examples: Positive


class Vocab(BaseModel):
    """Of the section ``vocab`` what a word is, so that those are counted which the network reads.

    The room of that section checks the other keys.
    """

    segmentation: Literal["letters", "unicode"]
