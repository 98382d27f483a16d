"""The section ``retrain`` of ``params.yaml``: when, and what a new model must be."""

from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import field_validator

from stages.params import PositiveFraction, PositiveNumber, Section

Metric = Literal["micro_f1", "macro_f1", "subset_accuracy", "mean_average_precision"]


class Retrain(Section):
    """Of no stage: when to retrain, and what a new model must be to take the place of the old."""

    cron: str | None
    timezone: str
    notify: str | None
    metric: Metric
    min_gain: float
    max_label_drop: PositiveFraction
    patience: PositiveNumber | None

    @field_validator("timezone")
    @classmethod
    def _is_a_timezone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError, OSError) as error:  # "Berlin", "/etc", "Europe"
            raise ValueError(
                f"retrain.timezone is {timezone!r}; write it as Europe/Berlin, or UTC"
            ) from error
        return timezone
