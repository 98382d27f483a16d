"""The section ``eda`` of ``params.yaml``: how much of the data is shown."""

from stages.params import Positive, Section


class Eda(Section):
    top_words: Positive
    examples: Positive
