"""``models/decision.json``: what turns a network's probabilities into labels."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from stages.files import write_json
from stages.threshold.calibration import scaled

DECISION = Path("models/decision.json")
ABOVE_ALL = math.nextafter(1, 2)  # where no row is to have a label, though one has probability 1


@dataclass(frozen=True)
class Decision:
    """A label holds where its calibrated probability is at least its threshold.

    Attributes:
        labels: names, in the order of the probabilities' columns.
        thresholds: one for each label, alike for the scope ``global``.
        scope, metric, shrinkage: how they were found (``threshold.*`` in ``params.yaml``).
        temperature: what the network's logits are divided by first; 1: they stay as they are.
    """

    labels: list[str]
    thresholds: list[Annotated[float, Field(ge=0, le=ABOVE_ALL)]]
    scope: Literal["global", "label"]
    metric: Literal["micro_f1", "macro_f1", "subset_accuracy"]
    shrinkage: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0  # of old ones, that had none

    def calibrate(self, probabilities: np.ndarray) -> np.ndarray:
        """The network's probabilities, float (rows, labels) → calibrated ones, float32."""
        return scaled(probabilities, self.temperature)

    def decide(self, calibrated: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float (rows, labels) → bool (rows, labels)."""
        # In double precision, as the thresholds were found: halfway between two neighbouring
        # single-precision probabilities there is no single-precision number.
        return calibrated.astype(np.float64) >= np.asarray(self.thresholds)

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """The network's probabilities, float (rows, labels) → bool (rows, labels)."""
        return self.decide(self.calibrate(probabilities))


def write_decision(decision: Decision, path: Path = DECISION) -> None:
    """Writes ``decision``, whole or not at all."""
    write_json(path, asdict(decision))


def read_decision(path: Path = DECISION) -> Decision:
    """The decision that ``write`` has written."""
    return Decision(**json.loads(path.read_text("utf-8")))
