"""The section ``vocab`` of ``params.yaml``: how captions become words."""

from typing import Literal

from stages.params import Length, Positive, Section


class Vocab(Section):
    normalize: Literal["none", "stem", "lemma"]
    segmentation: Literal["letters", "unicode"]
    stop_words: Literal["keep", "drop"]
    min_count: Positive
    max_words: Positive
    max_length: Length
