"""The section ``split`` of ``params.yaml``: how the parts are made."""

from typing import Annotated

from pydantic import Field, model_validator

from stages.params import Count, OpenFraction, Section, Seed


class Split(Section):
    validation: OpenFraction | None
    folds: Annotated[int, Field(ge=2)] | None
    fold: Count
    seed: Seed

    @property
    def parts(self) -> int:
        """How many there are: the folds, or train and validation."""
        return self.folds or 2

    @model_validator(mode="after")
    def _one_way_to_split(self) -> "Split":
        if (self.validation is None) == (self.folds is None):
            raise ValueError(
                "give either split.validation (one split) or split.folds (cross-validation), "
                "and set the other to null"
            )
        if self.fold >= (self.folds or 1):
            raise ValueError(
                f"split.fold is {self.fold}, but the folds are numbered 0 to "
                f"{(self.folds or 1) - 1}"
            )
        return self
