"""Labels that are probably wrong: confident learning (Northcutt et al. 2021), label by label.

A label of a photo is in doubt where the network, which has not been trained on that photo, is
confident of the opposite: as confident as it is on average of the photos for which the opposite is
given. What it is confident of may be wrong all the same: the list is for people to work through.

Labels that the network does not know well (``label_errors.is_known``), or of which there are few
photos, are not doubted at all, nor is what is more likely right than wrong at any rate. The
likelier the error (``label_errors.chances``), the higher it stands.

A label of which it is not known whether a photo carries it is not doubted, and says nothing of the
network's confidence.

Photos whose labels people have checked (``ingest.corrections``), whether they put them right or
found them right, are not listed again.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from stages import UserError, printable
from stages.ingest.naming import SEPARATOR
from stages.ingest.records import label_lists, label_matrix
from stages.network.probabilities import VALIDATION, read_label_names, read_probabilities
from stages.report.label_errors import LEAST_PHOTOS, Chances, Interval, chances, is_known, of_first
from stages.report.validation import Validation, known_matrix

CHECKED = Path("data/checked.csv")
LEAST_CHANCE = 0.5  # that a label is wrong, at the most, for it to be in doubt

IN_DOUBT = pl.Schema(
    {
        "id": pl.String(),
        "image": pl.Int32(),  # the photo's row in the image store
        "caption": pl.String(),
        "label": pl.String(),  # the one in doubt
        "given": pl.Boolean(),  # whether the photo carries it
        "probability": pl.Float32(),  # that it should, calibrated
        "chance": pl.Float64(),  # that what is given is wrong …
        "least": pl.Float64(),  # … and its 95 % interval, from …
        "most": pl.Float64(),  # … to
        "labels": pl.List(pl.String),  # all that are given
        "suggested": pl.List(pl.String),  # those with every one in doubt turned round
        "unknown": pl.List(pl.String),  # all of which nobody knows whether the photo carries them
    }
)


class Judged(NamedTuple):
    """Photos with known labels, and what networks say of them that have not learnt from them.

    Attributes:
        photos: ``id``, ``image``, ``caption``.
        truth: bool, (rows, labels), as given.
        known: bool, (rows, labels), where anything is given.
        probabilities: float32, (rows, labels), calibrated; NaN: of labels that are not predicted.
        names: of the labels.
    """

    photos: pl.DataFrame
    truth: np.ndarray
    known: np.ndarray
    probabilities: np.ndarray
    names: list[str]


class Doubts(NamedTuple):
    """What the page and ``label_quality.csv`` say of photos' labels.

    Attributes:
        photos: as from ``to_work_through``, without those that people have checked.
        judged: ids of the photos whose labels might have been doubted.
        checked: ids of the photos that people have checked.
        left_out: the labels that are not doubted, by why.
    """

    photos: pl.DataFrame
    judged: pl.Series
    checked: pl.Series
    left_out: dict[str, list[str]]


def find_doubts(file: Path, validation: Validation, photos: pl.DataFrame) -> Doubts:
    """The labels in doubt of the photos that ``out_of_fold`` gives for the same arguments."""
    judged = out_of_fold(file, validation, photos)
    left = left_out(judged)
    checked = pl.read_csv(CHECKED, schema={"id": pl.String})
    doubts = in_doubt(judged, left).join(checked, "id", "anti", maintain_order="left")
    return Doubts(to_work_through(doubts), judged.photos["id"], checked["id"], left)


def out_of_fold(file: Path, validation: Validation, photos: pl.DataFrame) -> Judged:
    """What ``report.out_of_fold`` names: the validation photos, or those of a table like theirs.

    Args:
        file: of such a table; the probabilities of others than validation's are calibrated.
        photos: columns of ``stages.ingest.records``; their labels count, not those of the table.

    Raises:
        UserError: the file is no such table, or is of none of these labels or photos.
    """
    columns = ["id", "image", "caption"]
    if file.resolve() == VALIDATION.resolve():
        given = (validation.truth, validation.known, validation.probabilities)
        return Judged(validation.photos.select(columns), *given, validation.names)
    try:
        names = read_label_names(file)
        table = read_probabilities(file).select("id", "probabilities")
        array = pl.Array(pl.Float32, len(names))
        table = table.match_to_schema({"id": pl.String, "probabilities": array})
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise _refused(file, f"is no table like {VALIDATION}") from error
    if table["id"].is_duplicated().any():
        raise _refused(file, "has photos twice")
    labelled = photos.filter(pl.col("labels").is_not_null())
    rows = table.join(labelled, "id", "inner", maintain_order="left")
    if rows.is_empty():
        raise _refused(file, "has other photos")
    both = [name for name in validation.names if name in names]
    if not both:
        raise _refused(file, "has other labels")
    truth = label_matrix(rows["labels"], validation.names)
    # Labels may have come since, or have gone.
    if unknown := [name for name in validation.names if name not in names]:
        labels = printable(", ".join(unknown))
        print(f"report: {file} does not know {labels}; nobody doubts these labels")
    probabilities = np.full(truth.shape, np.nan, np.float32)
    ours, theirs = ([of.index(name) for name in both] for of in (validation.names, names))
    probabilities[:, ours] = rows["probabilities"].to_numpy()[:, theirs]
    known = known_matrix(rows["unknown"], validation.names)
    return Judged(rows.select(columns), truth, known, probabilities, validation.names)


def _refused(file: Path, why: str) -> UserError:
    return UserError(
        f"report.out_of_fold: {file} {why}; python -m evaluation.ensemble makes a table of the "
        "experiments of all folds"
    )


def left_out(judged: Judged) -> dict[str, list[str]]:
    """The labels that cannot be judged: ``few`` photos carry them or do not, the network does not
    predict them or know them well enough (``weak``).
    """
    left: dict[str, list[str]] = {"few": [], "weak": []}
    for label, (name, known) in enumerate(zip(judged.names, judged.known.T, strict=True)):
        given, probabilities = judged.truth[known, label], judged.probabilities[known, label]
        if min(given.sum(), (~given).sum()) < LEAST_PHOTOS:
            left["few"].append(name)
        elif np.isnan(probabilities).any() or not is_known(given, probabilities):
            left["weak"].append(name)
    return left


def in_doubt(judged: Judged, left: dict[str, list[str]]) -> pl.DataFrame:
    """The labels of photos that are probably wrong: columns of ``IN_DOUBT``, the worst first.

    Args:
        left: the labels that are left out, as from ``left_out``.
    """
    photos, truth, known, probabilities, names = judged
    skipped = {name for labels in left.values() for name in labels}
    columns = [place for place, name in enumerate(names) if name not in skipped]
    chance = Chances(*(np.zeros(truth.shape) for _ in Chances._fields))
    of_columns = chances(truth[:, columns], probabilities[:, columns], known[:, columns])
    for every, some in zip(chance, of_columns, strict=True):
        every[:, columns] = some
    doubted = np.zeros(truth.shape, bool)
    for label in columns:
        rows = known[:, label]
        doubted[rows, label] = doubts_of(truth[rows, label], probabilities[rows, label])
    doubted &= chance.high >= LEAST_CHANCE
    rows, labels = np.nonzero(doubted)
    likelihoods = (pl.Series(each[rows, labels], dtype=pl.Float64) for each in chance)
    doubts = photos[rows].select(
        "id",
        "image",
        "caption",
        label=pl.Series(np.asarray(names, object)[labels], dtype=pl.String),
        given=pl.Series(truth[rows, labels]),
        probability=pl.Series(probabilities[rows, labels]),
        **dict(zip(("chance", "least", "most"), likelihoods, strict=True)),
        labels=label_lists(truth[rows], names),
        suggested=label_lists((truth ^ doubted)[rows], names),
        unknown=label_lists(~known[rows], names),
    )
    of_given = pl.when("given").then("probability").otherwise(1 - pl.col("probability"))
    order = doubts.sort(-pl.col("chance"), of_given, maintain_order=True)
    return order.match_to_schema(IN_DOUBT)


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

    ``id`` and ``labels``, which are those given, are what ``ingest.corrections`` reads: rows that
    people have looked at and put right, where need be, can be copied there as they are. Where
    labels of some photos are not known there is a column ``unknown`` with them, which it reads too.
    ``chance`` and its interval are of the label that stands first in ``in_doubt``.

    Args:
        doubts: from ``in_doubt``.
    """
    reason = pl.format(
        "{} {} ({})",
        pl.when("given").then(pl.lit("not")).otherwise(pl.lit("also")),
        "label",
        pl.col("probability").round(4),
    )
    joined = pl.col("suggested", "labels", "unknown").list.join(SEPARATOR)
    written = doubts.with_columns(joined, in_doubt=reason)
    listed = written.group_by("id", maintain_order=True).agg(
        labels=pl.col("labels").first(),
        suggested=pl.col("suggested").first(),
        in_doubt=pl.col("in_doubt").str.join(", "),
        chance=pl.col("chance").first().round(4),
        least=pl.col("least").first().round(4),
        most=pl.col("most").first().round(4),
        image=pl.col("image").first(),
        caption=pl.col("caption").first(),
        unknown=pl.col("unknown").first(),
    )
    return listed if (listed["unknown"] != "").any() else listed.drop("unknown")


def expected(listed: pl.DataFrame) -> Interval:
    """The share of photos whose first label in doubt is wrong; see ``label_errors.of_first``.

    Args:
        listed: rows of ``to_work_through``; at least one.
    """
    return of_first(Chances(*(listed[name].to_numpy() for name in ("chance", "least", "most"))))
