"""``models/decision.json``: the thresholds that turn probabilities into labels."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stages.files import write_json

DECISION = Path("models/decision.json")


@dataclass(frozen=True)
class Decision:
    """A label holds where its probability is at least its threshold.

    Attributes:
        labels: names, in the order of the probabilities' columns.
        thresholds: one for each label, alike for the scope ``global``.
        scope, metric, shrinkage: how they were found (``threshold.*`` in ``params.yaml``).
    """

    labels: list[str]
    thresholds: list[float]
    scope: str
    metric: str
    shrinkage: float

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """float (rows, labels) → bool (rows, labels)."""
        # In double precision, as the thresholds were found: halfway between two neighbouring
        # single-precision probabilities there is no single-precision number.
        return probabilities.astype(np.float64) >= np.asarray(self.thresholds)


def write(decision: Decision, path: Path = DECISION) -> None:
    write_json(path, asdict(decision))


def read(path: Path = DECISION) -> Decision:
    return Decision(**json.loads(path.read_text("utf-8")))
