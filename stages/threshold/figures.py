"""Figures of decisions, label by label and beside what one reaches without a network.

``truth`` is bool, ``scores``, calibrated probabilities, float, ``decided`` bool, all (rows,
labels). ``known``, bool of the same shape, are the decisions of which the truth is known, which
alone count; None: all.
"""

import math
from typing import Any

import numpy as np

from stages import metrics
from stages.intervals import by_label, f1_by_label


def of_labels(
    truth: np.ndarray,
    scores: np.ndarray,
    decided: np.ndarray,
    names: list[str],
    known: np.ndarray | None = None,
) -> dict[str, Any]:
    """``never_given``, the labels that no row is given, and ``labels``, the figures of each.

    These are those of ``by_label`` with ``low`` and ``high``, the 95 % interval of F1, which are
    None where too few rows carry the label or are given it. Of a label that no row carries there is
    only the count; the others are None.
    """
    columns = by_label(truth, scores, decided, known)
    of_f1 = f1_by_label(truth, decided, known)
    for bound in ("low", "high"):
        each = np.array([f1[bound] for f1 in of_f1], float)
        columns[bound] = np.where(columns["count"] > 0, each, np.nan)
    figures = {
        name: [None if math.isnan(value) else value for value in column.tolist()]
        for name, column in columns.items()
    }
    return {
        "never_given": [names[place] for place in np.flatnonzero(~decided.any(axis=0))],
        "labels": {
            label: {name: column[place] for name, column in figures.items()}
            for place, label in enumerate(names)
        },
    }


def points(
    truth: np.ndarray, scores: np.ndarray, decided: np.ndarray, known: np.ndarray | None = None
) -> dict[str, float]:
    """The metrics that the report begins with, without intervals."""
    hits, wrong, missed = (each.sum() for each in metrics.counts(truth, decided, known))
    return {
        "micro_precision": float(metrics.ratio(hits, hits + wrong)),
        "micro_recall": float(metrics.ratio(hits, hits + missed)),
        "micro_f1": metrics.micro_f1(truth, decided, known),
        "macro_f1": metrics.macro_f1(truth, decided, known),
        "subset_accuracy": metrics.subset_accuracy(truth, decided, known),
        "mean_average_precision": metrics.mean_average_precision(truth, scores, known),
    }


def without_model(truth: np.ndarray, known: np.ndarray | None = None) -> dict[str, Any]:
    """What one reaches by giving every photo the same labels, the most frequent ones.

    Of these as many are given as are best: for micro-F1 ``labels``, by which precision and recall
    are, too; for macro-F1 all of them. The best order is that of the labels' rates, which are then
    their average precision.
    """
    known = np.ones_like(truth) if known is None else known
    counted, rows = (truth & known).sum(axis=0), known.sum(axis=0)
    rates = metrics.ratio(counted, rows)
    order = np.argsort(-rates, kind="stable")
    hits, given = np.cumsum(counted[order]), np.cumsum(rows[order])
    f1 = metrics.ratio(2 * hits, given + counted.sum())
    best = int(f1.argmax())
    # Of the first 0, 1, … labels given, whether all are right, and no other one is.
    wrong, carried = (np.cumsum(each[:, order], axis=1) for each in (~truth & known, truth & known))
    right = np.pad(wrong, ((0, 0), (1, 0))) == 0
    right &= np.pad(carried, ((0, 0), (1, 0))) == carried[:, -1:]
    return {
        "labels": best + 1,
        "micro_precision": float(metrics.ratio(hits[best], given[best])),
        "micro_recall": float(metrics.ratio(hits[best], counted.sum())),
        "micro_f1": float(f1[best]),
        "macro_f1": float(metrics.ratio(2 * counted, rows + counted)[rows > 0].mean()),
        "subset_accuracy": float(right[known.any(axis=1)].mean(axis=0).max()),
        "mean_average_precision": float(rates[counted > 0].mean()) if counted.any() else 0.0,
    }
