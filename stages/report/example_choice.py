"""Which validation photos show best what a network has learnt of a label."""

import numpy as np
import polars as pl

from stages.report.validation import Validation

KINDS = ("best", "typical", "borderline", "false_positive", "false_negative")
EXAMPLES = pl.Schema(
    {
        "label": pl.Int64,  # its column
        "kind": pl.String,  # one of KINDS
        "row": pl.Int64,  # of the validation photo
    }
)


def choose_examples(
    validation: Validation, most_labels: int | None, most_photos: int
) -> pl.DataFrame:
    """The photos that show the labels which most photos carry.

    A label that is neither true nor predicted anywhere has no photo to show and is left out. Of
    each label only photos are shown of which it is known whether they carry it.

    Args:
        most_labels: at most so many labels; None: all.
        most_photos: of a label and kind, at most.

    Returns:
        Columns of ``EXAMPLES``; most frequent labels first, and the kinds of each in their order.
    """
    truth, predicted = (of & validation.known for of in (validation.truth, validation.predicted))
    carried = truth.sum(axis=0)
    order = np.argsort(-carried, kind="stable")
    shown = order[(carried + predicted.sum(axis=0))[order] > 0][:most_labels]
    known = {label: np.flatnonzero(validation.known[:, label]) for label in shown}
    examples = [
        (int(label), kind, int(rows[place]))
        for label, rows in known.items()
        for kind, places in examples_of_label(
            truth[rows, label],
            predicted[rows, label],
            validation.probabilities[rows, label],
            validation.thresholds[label],
            most_photos,
        ).items()
        for place in places
    ]
    return pl.DataFrame(examples, EXAMPLES, orient="row")


def examples_of_label(
    truth: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    most: int,
) -> dict[str, np.ndarray]:
    """Up to ``most`` photos of each of ``KINDS`` for one label; none is there twice.

    ``best``: found, the most certain first. ``false_positive`` and ``false_negative``: wrong,
    the most certain first. ``typical``: carry the label, nearest to the median probability of
    those that do. ``borderline``: nearest to the threshold, whether they carry it or not. Of
    equals the earlier row comes first.

    Args:
        truth, predicted: bool, (rows,).
        probabilities: float, (rows,).

    Returns:
        int row numbers for each kind.
    """

    def first(rows: np.ndarray, by: np.ndarray) -> np.ndarray:
        return rows[np.argsort(by[rows], kind="stable")][:most]

    scores = probabilities.astype(np.float64)
    best = first(np.flatnonzero(truth & predicted), -scores)
    false_positive = first(np.flatnonzero(~truth & predicted), -scores)
    false_negative = first(np.flatnonzero(truth & ~predicted), scores)
    shown = np.concatenate([best, false_positive, false_negative])
    median = np.median(scores[truth]) if truth.any() else 0.0
    typical = first(np.setdiff1d(np.flatnonzero(truth), shown), np.abs(scores - median))
    left = np.setdiff1d(np.arange(len(truth)), np.concatenate([shown, typical]))
    borderline = first(left, np.abs(scores - threshold))
    kinds = (best, typical, borderline, false_positive, false_negative)
    return dict(zip(KINDS, kinds, strict=True))
