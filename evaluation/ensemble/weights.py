"""What each member of an ensemble is worth, by stacking (Wolpert 1992).

The ensemble's probabilities are a convex combination of its members', with the weights of the
least log loss on rows that no member was trained on: the super learner (van der Laan, Polley and
Hubbard 2007). Weights that cannot be negative nor sum to more than one keep members that agree
from being played off against each other (Breiman 1996).
"""

import numpy as np
from scipy.optimize import minimize

from stages import UserError
from stages.metrics import pooled

# A probability of 0 for what is true would cost infinitely much; float32 sigmoids reach 0 and 1.
LEAST = 1e-7


def find_weights(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None
) -> np.ndarray:
    """The weights with the least mean log loss over all decisions of which the truth is known.

    Args:
        truth: bool, (rows, labels).
        probabilities: float, (members, rows, labels).
        known: bool, (rows, labels); None: all.

    Returns:
        float64, (members,), none negative, of sum 1. The problem is convex, so they are the best
        there are; members that are alike share alike.

    Raises:
        UserError: the search for them fails.
    """
    given = np.stack([_given_to_truth(*pooled(known, truth, each)) for each in probabilities])
    even = np.full(len(given), 1 / len(given))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = weights @ given
        return -np.log(mixed).mean(), -(given / mixed).mean(axis=1)

    result = minimize(
        loss,
        even,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(given),
        constraints={
            "type": "eq",
            "fun": lambda weights: weights.sum() - 1,
            "jac": np.ones_like,
        },
        options={"ftol": 1e-12, "maxiter": 500},
    )
    if not result.success:
        raise UserError(
            f"no weights found for these {len(given)} networks ({result.message}); leave some out"
        )
    weights = result.x.clip(0)
    return weights / weights.sum()


def mix(weights: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """float (members, rows, labels) → float32 (rows, labels), as it is written and decided."""
    mixed = np.tensordot(weights, probabilities.astype(np.float64), axes=1)
    return mixed.astype(np.float32)


def log_loss(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None
) -> float:
    """Mean over all known decisions, in nats; (rows, labels) inputs."""
    return float(-np.log(_given_to_truth(*pooled(known, truth, probabilities))).mean())


def _given_to_truth(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The probability that each decision gives to what is true, at least ``LEAST``."""
    probabilities = probabilities.astype(np.float64)
    return np.where(truth, probabilities, 1 - probabilities).clip(LEAST)
