"""``models/decision.json``: what turns a network's probabilities into labels."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stages.files import write_json
from stages.threshold.calibration import scaled

DECISION = Path("models/decision.json")


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
    thresholds: list[float]
    scope: str
    metric: str
    shrinkage: float
    temperature: float = 1.0  # that of decisions from before there was one

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
