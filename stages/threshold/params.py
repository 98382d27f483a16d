"""The section ``threshold`` of ``params.yaml``: how thresholds are found."""

from typing import Annotated, Literal

from pydantic import Field

from stages.params import Section, Seed


class Threshold(Section):
    scope: Literal["global", "label"]
    metric: Literal["micro_f1", "macro_f1", "subset_accuracy"]
    shrinkage: Annotated[float, Field(ge=0)]
    calibration: Literal["none", "temperature"]
    seed: Seed
