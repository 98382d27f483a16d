"""The section ``split`` of ``params.yaml``: how the parts are made."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.params import Count, OpenFraction, Section, Seed


class Split(Section):
    by: Literal["random", "time"]
    validation: OpenFraction | None
    holdout: OpenFraction | None
    folds: Annotated[int, Field(ge=2)] | None
    fold: Count
    seed: Seed

    @property
    def parts(self) -> int:
        """How many there are: the folds, or train and validation."""
        return self.folds or 2

    @property
    def makes_parts(self) -> bool:
        """Whether photos are split that the source gives no part."""
        return self.validation is not None or self.folds is not None

    @property
    def of_holdout(self) -> "Split":
        """How the holdout is cut from all photos: as validation is from train."""
        return self.model_copy(update={"validation": self.holdout, "folds": None})

    @property
    def of_rest(self) -> "Split":
        """How the photos beside the holdout are split: each fraction is one of all photos."""
        if self.validation is None or self.holdout is None:
            return self
        return self.model_copy(update={"validation": self.validation / (1 - self.holdout)})

    @model_validator(mode="after")
    def _one_way_to_split(self) -> "Split":
        if self.validation is not None and self.folds is not None:
            raise ValueError(
                "give either split.validation (one split) or split.folds (cross-validation), "
                "and set the other to null"
            )
        if self.by == "time" and self.folds is not None:
            raise ValueError(
                "by time there is one split, since folds would train on what came later; set "
                "split.folds to null and give split.validation, or set split.by to random"
            )
        if (self.validation or 0) + (self.holdout or 0) >= 1:
            raise ValueError(
                f"split.validation and split.holdout are {self.validation} and {self.holdout} of "
                "the labelled photos, so that none trains; lower one"
            )
        if self.fold >= (self.folds or 1):
            raise ValueError(
                f"split.fold is {self.fold}, but the folds are numbered 0 to "
                f"{(self.folds or 1) - 1}"
            )
        return self
