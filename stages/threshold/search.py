"""The best thresholds, exactly: by sorting the probabilities, not by trying a grid.

Between two neighbouring probabilities no decision changes, so the candidates are the midpoints
between neighbours, one below all and one above all. All functions take ``truth``, bool, and
``scores``, probabilities as float64 (so that midpoints exist), and a label holds where
``score >= threshold``.
"""

import numpy as np

from stages.metrics import ratio

DINKELBACH_ROUNDS = 100  # far more than it takes: each round strictly raises F1


def search(truth: np.ndarray, scores: np.ndarray, scope: str, metric: str) -> np.ndarray:
    """The thresholds, float64 (labels,), with the largest ``metric``; (rows, labels) inputs.

    Exact, but for ``scope`` label with subset accuracy, where labels decide together: there the
    thresholds start from the best global one and are improved one label at a time until no
    single change helps.
    """
    scores = scores.astype(np.float64)
    labels = truth.shape[1]
    if scope == "global":
        best = {
            "micro_f1": _global_micro_f1,
            "macro_f1": _global_macro_f1,
            "subset_accuracy": _global_subset_accuracy,
        }[metric](truth, scores)
        return np.full(labels, best)
    if metric == "micro_f1":
        return _micro_f1_by_label(truth, scores)
    if metric == "macro_f1":
        each = range(labels)
        return np.array([_global_micro_f1(truth[:, i], scores[:, i]) for i in each])
    return _subset_accuracy_by_label(truth, scores)


def shrink(
    thresholds: np.ndarray, toward: np.ndarray, positives: np.ndarray, strength: float
) -> np.ndarray:
    """Moves thresholds (labels,) of rare labels ``toward`` the global one.

    A threshold found on few positives is mostly chance. With ``n`` positives it keeps the weight
    n / (n + strength), the empirical-Bayes form of shrinkage.
    """
    weight = ratio(positives, positives + strength)
    return weight * thresholds + (1 - weight) * toward


def curve(truth: np.ndarray, scores: np.ndarray, points: int) -> dict[str, np.ndarray]:
    """Micro precision, recall and F1 of one global threshold at ``points`` places over [0, 1]."""
    scores = scores.astype(np.float64)
    at = np.linspace(0, 1, points)
    ordered, true_ordered = np.sort(scores, axis=None), np.sort(scores[truth])
    predicted = scores.size - np.searchsorted(ordered, at)
    hits = true_ordered.size - np.searchsorted(true_ordered, at)
    positives = truth.sum()
    return {
        "threshold": at,
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, positives),
        "f1": ratio(2 * hits, predicted + positives),
    }


def _steps(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order of falling scores, which of them end a run of equal ones, and the thresholds there.

    ``thresholds[k]`` lets through the scores up to the k-th end; ``thresholds`` has one more in
    front that lets nothing through.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
    distinct = scores[order][ends]
    if len(distinct) == 0:
        return order, ends, np.array([0.5])
    above = max((distinct[0] + 1) / 2, np.nextafter(distinct[0], np.inf))
    between = (distinct[:-1] + distinct[1:]) / 2
    return order, ends, np.concatenate([[above], between, [0.0]])


def _global_micro_f1(truth: np.ndarray, scores: np.ndarray) -> float:
    """2·TP / (predicted + positives) after each step; any shape, all decisions together."""
    truth, scores = truth.ravel(), scores.ravel()
    order, ends, thresholds = _steps(scores)
    hits = np.append(0, np.cumsum(truth[order])[ends])
    predicted = np.append(0, ends + 1)
    return float(thresholds[np.argmax(ratio(2 * hits, predicted + truth.sum()))])


def _global_macro_f1(truth: np.ndarray, scores: np.ndarray) -> float:
    """Each decision that falls below the threshold moves the F1 of its own label, no other."""
    gains = np.empty(scores.shape)
    for i in range(truth.shape[1]):
        order = np.argsort(-scores[:, i], kind="stable")
        hits = np.cumsum(truth[order, i])
        f1 = ratio(2 * hits, np.arange(1, len(order) + 1) + truth[:, i].sum())
        gains[order, i] = np.diff(f1, prepend=0)
    order, ends, thresholds = _steps(scores.ravel())
    return float(thresholds[np.argmax(np.append(0, np.cumsum(gains.ravel()[order])[ends]))])


def _global_subset_accuracy(truth: np.ndarray, scores: np.ndarray) -> float:
    """A row is right for the thresholds above its largest false score, up to its smallest true."""
    low = np.where(truth, -np.inf, scores).max(axis=1)
    high = np.where(truth, scores, np.inf).min(axis=1)
    return _most_covered(low, high, scores)


def _micro_f1_by_label(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Micro-F1 over all labels' thresholds at once, by Dinkelbach's method (1967).

    F1 = 2·ΣTP / Σ(predicted + positives) is at least λ where Σ(2·TP − λ·predicted) ≥ λ·Σpositives.
    That sum falls apart into labels, each of which is solved by sorting; λ rises to the best F1.
    """
    steps = []
    for i in range(truth.shape[1]):
        order, ends, thresholds = _steps(scores[:, i])
        hits = np.append(0, np.cumsum(truth[order, i])[ends])
        steps.append((hits, np.append(0, ends + 1), thresholds))
    best = 0.0
    for _ in range(DINKELBACH_ROUNDS):
        chosen = [int(np.argmax(2 * hits - best * predicted)) for hits, predicted, _ in steps]
        hits = sum(step[0][k] for step, k in zip(steps, chosen, strict=True))
        predicted = sum(step[1][k] for step, k in zip(steps, chosen, strict=True))
        f1 = float(ratio(2 * hits, predicted + truth.sum()))
        if f1 <= best:
            break
        best = f1
    return np.array([step[2][k] for step, k in zip(steps, chosen, strict=True)])


def _subset_accuracy_by_label(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Coordinate ascent: one label's threshold after another, until no row more comes right."""
    thresholds = np.full(truth.shape[1], _global_subset_accuracy(truth, scores))
    right = (scores >= thresholds) == truth
    best = right.all(axis=1).sum()
    improved = True
    while improved:
        improved = False
        for i in range(truth.shape[1]):
            # Only rows whose other labels are all right can become right by this one.
            others = right.sum(axis=1) - right[:, i] == truth.shape[1] - 1
            column, true = scores[others, i], truth[others, i]
            low, high = np.where(true, -np.inf, column), np.where(true, column, np.inf)
            candidate = _most_covered(low, high, column)
            now = (scores[:, i] >= candidate) == truth[:, i]
            if (now & others).sum() > best:
                best, improved = (now & others).sum(), True
                thresholds[i], right[:, i] = candidate, now
    return thresholds


def _most_covered(low: np.ndarray, high: np.ndarray, scores: np.ndarray) -> float:
    """The threshold t that most rows want: those with low < t ≤ high; among ``scores``' steps."""
    _, _, thresholds = _steps(scores.ravel())
    wanted = low < high
    starts, stops = np.sort(low[wanted]), np.sort(high[wanted])
    covered = np.searchsorted(starts, thresholds) - np.searchsorted(stops, thresholds)
    return float(thresholds[np.argmax(covered)])
