"""The section ``report`` of ``params.yaml``: what the page shows."""

from stages.params import Positive, Section


class Report(Section):
    photos: Positive
    labels: Positive | None
    captions: Positive
    against: str | None
    out_of_fold: str
