"""Labels that are probably wrong: confident learning (Northcutt et al. 2021), label by label.

A label of a photo is in doubt where the network, which has not been trained on that photo, is
confident of the opposite: as confident as it is on average of the photos for which the opposite is
given. What it is confident of may be wrong all the same: the list is for people to work through.

The less probable what is given, the higher it stands. Of labels that were left out, added or
swapped on purpose, this brings more to the top than to take off each label's own average first
(cleanlab's ``adjust_pred_probs``).
"""

import numpy as np
import polars as pl

from stages.ingest.records import label_lists

SEPARATOR = "|"  # between the labels of a cell, as in ``ingest.corrections``
IN_DOUBT = pl.Schema(
    {
        "id": pl.String,
        "image": pl.Int32,  # the photo's row in the image store
        "caption": pl.String,
        "label": pl.String,  # the one in doubt
        "given": pl.Boolean,  # whether the photo carries it
        "probability": pl.Float32,  # that it should, calibrated
        "score": pl.Float64,  # the probability of what is given; the lower, the worse
        "labels": pl.List(pl.String),  # all that are given
        "suggested": pl.List(pl.String),  # those with every one in doubt turned round
    }
)


def in_doubt(
    photos: pl.DataFrame, truth: np.ndarray, probabilities: np.ndarray, names: list[str]
) -> pl.DataFrame:
    """The labels of photos that are probably wrong: columns of ``IN_DOUBT``, the worst first.

    A label that all photos carry, or none, cannot be judged and is left out.

    Args:
        photos: ``id``, ``image``, ``caption``.
        truth: bool, (rows, labels), as given.
        probabilities: float32, (rows, labels), calibrated, of a network not trained on them.
        names: of the labels.
    """
    doubted = np.zeros(truth.shape, bool)
    for label in np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0)):
        doubted[:, label] = doubts_of(truth[:, label], probabilities[:, label])
    of_given = np.where(truth, probabilities, 1 - probabilities)
    rows, labels = np.nonzero(doubted)
    found = photos[rows].select(
        "id",
        "image",
        "caption",
        label=pl.Series(np.asarray(names, object)[labels], dtype=pl.String),
        given=pl.Series(truth[rows, labels]),
        probability=pl.Series(probabilities[rows, labels]),
        score=pl.Series(of_given[rows, labels], dtype=pl.Float64),
        labels=label_lists(truth[rows], names),
        suggested=label_lists((truth ^ doubted)[rows], names),
    )
    return found.sort("score", maintain_order=True).match_to_schema(IN_DOUBT)


def doubts_of(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Whether one label of each photo is in doubt: bool (rows,).

    Args:
        truth: bool, (rows,); some are true and some are not.
        probabilities: float, (rows,).
    """
    from cleanlab.filter import find_label_issues  # takes seconds

    of_both = np.stack([1 - probabilities, probabilities], axis=1).astype(np.float64)
    return find_label_issues(
        truth.astype(int),
        of_both,
        filter_by="confident_learning",
        min_examples_per_class=0,
        n_jobs=1,
    )


def to_work_through(doubts: pl.DataFrame) -> pl.DataFrame:
    """``label_quality.csv``: a photo a row, the worst first.

    ``id`` and ``labels``, which are those suggested, are what ``ingest.corrections`` reads: rows
    that people have looked at and put right, where need be, can be copied there as they are.

    Args:
        doubts: from ``in_doubt``.
    """
    said = pl.format(
        "{} {} ({})",
        pl.when("given").then(pl.lit("not")).otherwise(pl.lit("also")),
        "label",
        pl.col("probability").round(3),
    )
    joined = pl.col("suggested", "labels").list.join(SEPARATOR)
    photos = doubts.with_columns(joined, said.alias("in_doubt")).group_by("id", maintain_order=True)
    return photos.agg(
        labels=pl.col("suggested").first(),
        given=pl.col("labels").first(),
        in_doubt=pl.col("in_doubt").str.join(", "),
        score=pl.col("score").first().round(4),
        image=pl.col("image").first(),
        caption=pl.col("caption").first(),
    )
