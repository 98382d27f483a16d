"""The best thresholds, exactly: by sorting the probabilities, not by trying a grid.

Between two neighbouring probabilities no decision changes, so the candidates are the midpoints
between neighbours, one below all and one above all. All functions take ``truth``, bool, and
``scores``, probabilities as float64 (so that midpoints exist), and a label holds where
``score >= threshold``. ``known``, bool (rows, labels), are the decisions of which the truth is
known; None: all. The others count nowhere.
"""

from collections.abc import Iterator

import numpy as np

from stages.metrics import pooled, ratio

DINKELBACH_ROUNDS = 100  # far more than it takes: each round strictly raises F1


def search(
    truth: np.ndarray,
    scores: np.ndarray,
    scope: str,
    metric: str,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """The thresholds, float64 (labels,), with the largest ``metric``; (rows, labels) inputs.

    Exact, but for ``scope`` label with subset accuracy, where labels decide together: there the
    thresholds start from the best global one and are improved one label at a time until no
    single change helps.
    """
    scores = scores.astype(np.float64)
    if scope == "global":
        best = {
            "micro_f1": _global_micro_f1,
            "macro_f1": _global_macro_f1,
            "subset_accuracy": _global_subset_accuracy,
        }[metric](truth, scores, known)
        return np.full(truth.shape[1], best)
    if metric == "micro_f1":
        return _micro_f1_by_label(truth, scores, known)
    if metric == "macro_f1":
        return np.array([_best_f1(*column) for column in _columns(truth, scores, known)])
    return _subset_accuracy_by_label(truth, scores, known)


def shrink(
    thresholds: np.ndarray, toward: np.ndarray, positives: np.ndarray, strength: float
) -> np.ndarray:
    """Moves thresholds (labels,) of rare labels ``toward`` the global one.

    A threshold found on few positives is mostly chance. With ``n`` positives it keeps the weight
    n / (n + strength), the empirical-Bayes form of shrinkage.
    """
    weight = ratio(positives, positives + strength)
    return weight * thresholds + (1 - weight) * toward


def curve(
    truth: np.ndarray, scores: np.ndarray, points: int, known: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Micro precision, recall and F1 of one global threshold at ``points`` places over [0, 1]."""
    truth, scores = pooled(known, truth, scores.astype(np.float64))
    at = np.linspace(0, 1, points)
    ordered, true_ordered = np.sort(scores), np.sort(scores[truth])
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


def _columns(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None
) -> Iterator[list[np.ndarray]]:
    """Yields truth and scores of each label, of the rows where it is known."""
    for i in range(truth.shape[1]):
        yield pooled(None if known is None else known[:, i], truth[:, i], scores[:, i])


def _best_f1(truth: np.ndarray, scores: np.ndarray) -> float:
    """2·TP / (predicted + positives) after each step; (decisions,) inputs."""
    order, ends, thresholds = _steps(scores)
    hits = np.append(0, np.cumsum(truth[order])[ends])
    predicted = np.append(0, ends + 1)
    return float(thresholds[np.argmax(ratio(2 * hits, predicted + truth.sum()))])


def _global_micro_f1(truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None) -> float:
    return _best_f1(*pooled(known, truth, scores))


def _global_macro_f1(truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None) -> float:
    """Each decision that falls below the threshold moves the F1 of its own label, no other."""
    gains = np.empty(scores.shape)
    for i, (true, column) in enumerate(_columns(truth, scores, known)):
        order = np.argsort(-column, kind="stable")
        f1 = ratio(2 * np.cumsum(true[order]), np.arange(1, len(order) + 1) + true.sum())
        rows = np.arange(len(truth)) if known is None else np.flatnonzero(known[:, i])
        gains[rows[order], i] = np.diff(f1, prepend=0)
    decisions, moved = pooled(known, scores, gains)
    order, ends, thresholds = _steps(decisions)
    return float(thresholds[np.argmax(np.append(0, np.cumsum(moved[order])[ends]))])


def _bounds(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """A decision is right for the thresholds above the first, up to the second: as ``scores``."""
    true, untrue = (truth, ~truth) if known is None else (truth & known, ~truth & known)
    return np.where(untrue, scores, -np.inf), np.where(true, scores, np.inf)


def _global_subset_accuracy(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None
) -> float:
    """A row is right for the thresholds above its largest false score, up to its smallest true."""
    low, high = _bounds(truth, scores, known)
    return _most_covered(low.max(axis=1), high.min(axis=1), *pooled(known, scores))


def _micro_f1_by_label(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None
) -> np.ndarray:
    """Micro-F1 over all labels' thresholds at once, by Dinkelbach's method (1967).

    F1 = 2·ΣTP / Σ(predicted + positives) is at least λ where Σ(2·TP − λ·predicted) ≥ λ·Σpositives.
    That sum falls apart into labels, each of which is solved by sorting; λ rises to the best F1.
    """
    steps, positives = [], 0
    for true, column in _columns(truth, scores, known):
        order, ends, thresholds = _steps(column)
        hits = np.append(0, np.cumsum(true[order])[ends])
        steps.append((hits, np.append(0, ends + 1), thresholds))
        positives += true.sum()
    best = 0.0
    for _ in range(DINKELBACH_ROUNDS):
        chosen = [int(np.argmax(2 * hits - best * predicted)) for hits, predicted, _ in steps]
        hits = sum(step[0][k] for step, k in zip(steps, chosen, strict=True))
        predicted = sum(step[1][k] for step, k in zip(steps, chosen, strict=True))
        f1 = float(ratio(2 * hits, predicted + positives))
        if f1 <= best:
            break
        best = f1
    return np.array([step[2][k] for step, k in zip(steps, chosen, strict=True)])


def _subset_accuracy_by_label(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None
) -> np.ndarray:
    """Coordinate ascent: one label's threshold after another, until no row more comes right."""
    thresholds = np.full(truth.shape[1], _global_subset_accuracy(truth, scores, known))
    low, high = _bounds(truth, scores, known)
    right = (low < thresholds) & (thresholds <= high)
    best = right.all(axis=1).sum()
    improved = True
    while improved:
        improved = False
        for i in range(truth.shape[1]):
            # Only rows whose other labels are all right can become right by this one.
            others = right.sum(axis=1) - right[:, i] == truth.shape[1] - 1
            rows = others if known is None else others & known[:, i]
            candidate = _most_covered(low[rows, i], high[rows, i], scores[rows, i])
            now = (low[:, i] < candidate) & (candidate <= high[:, i])
            if (now & others).sum() > best:
                best, improved = (now & others).sum(), True
                thresholds[i], right[:, i] = candidate, now
    return thresholds


def _most_covered(low: np.ndarray, high: np.ndarray, scores: np.ndarray) -> float:
    """The threshold t that most rows want: those with low < t ≤ high; among ``scores``' steps."""
    _, _, thresholds = _steps(scores)
    wanted = low < high
    starts, stops = np.sort(low[wanted]), np.sort(high[wanted])
    covered = np.searchsorted(starts, thresholds) - np.searchsorted(stops, thresholds)
    return float(thresholds[np.argmax(covered)])
