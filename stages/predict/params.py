"""The section ``predict`` of ``params.yaml``: how the test photos are predicted."""

from stages.params import Positive, Section


class Predict(Section):
    batch_size: Positive
