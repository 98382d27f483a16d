"""Probabilities that mean what they say: among decisions of 0.8, four of five are true.

All functions take ``truth``, bool, and ``probabilities``, float, both of one shape, whichever it
is, and look at all decisions together.
"""

import numpy as np

from stages.metrics import ratio

BINS = 15
RANGE = (0.1, 10.0)  # a network beyond has other troubles than its temperature
AT_BOUND = 1e-3  # relative; the search ends that near
LEAST = 1e-7  # about what single precision tells from 0


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Each probability's logit, divided by ``temperature``, as a probability: float32.

    Written so that 0 and 1, whose logits are infinite, stay what they are.
    """
    positive = probabilities.astype(np.float64) ** (1 / temperature)
    negative = (1 - probabilities.astype(np.float64)) ** (1 / temperature)
    return (positive / (positive + negative)).astype(np.float32)


def find_temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature with the least log loss (Guo et al. 2017), in ``RANGE``; of no decision, 1.

    It is a single number, so that little is flattered, and no order of probabilities is turned
    round; in single precision, which they come out in, neighbours may become equal.
    """
    if truth.size == 0:
        return 1.0
    from scipy.optimize import minimize_scalar  # half a second, and wanted by one stage

    clipped = np.clip(probabilities.astype(np.float64), LEAST, 1 - LEAST).ravel()
    logits = np.log(clipped / (1 - clipped))
    # log(1 + exp(±logit)) of each decision, the sign such that a right one costs little.
    wrongness = np.where(truth.ravel(), -logits, logits)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, wrongness / np.exp(log_temperature)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(RANGE), method="bounded").x))


def bound(temperature: float) -> float | None:
    """The end of ``RANGE`` that ``temperature`` was stopped at, if any."""
    return next((end for end in RANGE if np.isclose(temperature, end, rtol=AT_BOUND)), None)


def reliability(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """The reliability diagram: ``BINS`` equally wide bins of probabilities.

    Returns:
        (bins,) each: ``probability``, their mean in the bin, and ``frequency``, the share that is
        true there, both 0 in empty bins; ``decisions``, how many there are.
    """
    given, true = probabilities.ravel().astype(np.float64), truth.ravel()
    place = np.minimum((given * BINS).astype(int), BINS - 1)
    decisions = np.bincount(place, minlength=BINS)
    return {
        "probability": ratio(np.bincount(place, given, BINS), decisions),
        "frequency": ratio(np.bincount(place, true, BINS), decisions),
        "decisions": decisions,
    }


def measure(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The expected calibration error (Naeini et al. 2015), over ``BINS`` bins, and the log loss;
    both 0 where there is no decision.
    """
    bins = reliability(truth, probabilities)
    gaps = np.abs(bins["probability"] - bins["frequency"])
    clipped = np.clip(probabilities.astype(np.float64), LEAST, 1 - LEAST)
    return {
        "expected_calibration_error": float(gaps @ ratio(bins["decisions"], truth.size)),
        "log_loss": float(ratio(-np.log(np.where(truth, clipped, 1 - clipped)).sum(), truth.size)),
    }
