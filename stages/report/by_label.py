"""What a decision does label by label: curves, and labels that lead it astray together.

``truth``, ``predicted`` and ``known``, the decisions of which the truth is known, are bool (rows,
labels); the others count nowhere.
"""

import numpy as np
import polars as pl

from stages.metrics import ratio

MOST_POINTS = 10_000  # of all curves together, which bounds the page
POINTS = (20, 110)  # of a curve, at least and at most
LEAST_WRONG = 3  # photos, for a pair of labels to be called confused

CURVES = pl.Schema(
    {
        "label": pl.String,
        "threshold": pl.Float64,
        "precision": pl.Float64,
        "recall": pl.Float64,
        "f1": pl.Float64,
    }
)
PAIRS = pl.Schema(
    {
        "label": pl.String,
        "other": pl.String,
        "together": pl.Int64,
        "without": pl.Int64,
        "wrong": pl.Int64,
        "rate": pl.Float64,
        "elsewhere": pl.Float64,
    }
)


def curves(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray, names: list[str]
) -> pl.DataFrame:
    """Precision, recall and F1 of each label at thresholds from high to low, in few points.

    Args:
        probabilities: float (rows, labels).

    Returns:
        Columns of ``CURVES``; no row for a label that is true nowhere.
    """
    points = int(np.clip(MOST_POINTS // max(len(names), 1), *POINTS))
    tables = [
        _curve(truth[rows, place], probabilities[rows, place], points).select(
            pl.lit(names[place]).alias("label"), pl.all()
        )
        for place, rows in enumerate(known.T)
        if truth[rows, place].any()
    ]
    return pl.concat(tables) if tables else CURVES.to_frame()


def _curve(truth: np.ndarray, scores: np.ndarray, points: int) -> pl.DataFrame:
    order = np.argsort(-scores, kind="stable")
    thresholds = scores[order].astype(np.float64)
    ends = np.flatnonzero(np.diff(thresholds, append=np.nan) != 0)
    hits, chosen, positives = np.cumsum(truth[order])[ends], ends + 1, truth.sum()
    recall = hits / positives
    # Evenly over both axes that the curve is drawn on, and its ends.
    grid = np.linspace(0, 1, points // 2)
    by_threshold = np.searchsorted(-thresholds[ends], -grid)
    kept = np.concatenate([np.searchsorted(recall, grid), by_threshold])
    kept = np.unique(np.clip(kept, 0, len(ends) - 1))
    return pl.DataFrame(
        {
            "threshold": thresholds[ends][kept],
            "precision": (hits / chosen)[kept],
            "recall": recall[kept],
            "f1": (2 * hits / (chosen + positives))[kept],
        }
    )


def beside(
    truth: np.ndarray, predicted: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How often photos that carry one label are given another one wrongly.

    Returns:
        Two int (labels, labels): how many photos carry the label of the row and not that of the
        column; and how many of those were given the latter. Both are 0 on the diagonal.
    """
    carried, absent = truth & known, ~truth & known
    return _together(carried, absent), _together(carried, absent & predicted)


def _together(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """In how many rows a label of ``first`` and one of ``second`` hold: int (labels, labels)."""
    both = first.T.astype(float) @ second.astype(float)  # BLAS; exact below 2⁵³ rows
    return both.astype(np.int64)


def confused(
    truth: np.ndarray, predicted: np.ndarray, known: np.ndarray, names: list[str], most: int
) -> pl.DataFrame:
    """The pairs of labels where the second is most often given wrongly beside the first.

    Returns:
        Columns of ``PAIRS``: how many photos carry both, how many only the first (``without``);
        on how many of those the second was found (``wrong``, and as a ``rate``); and its rate on
        the photos that carry neither (``elsewhere``). Most photos first.
    """
    without, wrong = beside(truth, predicted, known)
    carried, absent = truth & known, ~truth & known
    both, neither = _together(carried, carried), _together(absent, absent)
    rate = ratio(wrong, without)
    elsewhere = ratio(_together(absent, absent & predicted), neither)
    order = np.argsort(-wrong, axis=None, kind="stable")
    rows: list[tuple[str, str, int, int, int, float, float]] = []
    for first, second in zip(*np.unravel_index(order, wrong.shape), strict=True):
        pair = first, second
        if wrong[pair] < LEAST_WRONG or len(rows) == most:
            break
        if rate[pair] > elsewhere[pair]:
            rows.append(
                (
                    names[first], names[second], int(both[pair]), int(without[pair]),
                    int(wrong[pair]), float(rate[pair]), float(elsewhere[pair]),
                )
            )  # fmt: skip
    return pl.DataFrame(rows, PAIRS, orient="row")


def rates(
    truth: np.ndarray, predicted: np.ndarray, known: np.ndarray, names: list[str]
) -> pl.DataFrame:
    """``beside`` as a table: ``label``, ``other``, ``wrong``, ``without`` and their ``rate``."""
    without, wrong = beside(truth, predicted, known)
    first, second = np.nonzero(without)
    return pl.DataFrame(
        {
            "label": [names[place] for place in first],
            "other": [names[place] for place in second],
            "wrong": wrong[first, second],
            "without": without[first, second],
            "rate": ratio(wrong, without)[first, second],
        }
    )
