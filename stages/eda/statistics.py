"""What is in the data, as plain functions from columns of the records to small tables.

A photo's labels count as one value, its label set: the distinct sets and how many photos have
each are found once, and every figure about labels follows from that short table, however many
photos there are. «Labelled» photos are those whose labels are known; an empty set is known.
"""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import polars as pl

from stages.ingest.records import SUBSETS, label_matrix
from stages.metrics import ratio
from stages.words import STOP_WORDS

# A word that meets a label less often says nothing about it: Church & Hanks (1990) leave out
# pairs seen five times or less, since the mutual information of rare pairs is unstable.
LEAST_TOGETHER = 6
MOST_MISSING = 100


def label_sets(labels: pl.Series) -> pl.DataFrame:
    """The distinct label sets: ``labels`` List(String), ``photos``; the most frequent first.

    ``labels`` has no nulls, and each list is in the order of the label names.
    """
    sets = labels.alias("labels").to_frame().group_by("labels").agg(photos=_rows())
    names = pl.col("labels").list
    return sets.sort(-pl.col("photos"), names.len(), names.join("\0"))


def named(sets: pl.DataFrame) -> pl.DataFrame:
    """Label sets as ``set``, a name to read, and ``photos``."""
    name = pl.col("labels").list.join(" + ").replace("", "no label")
    return sets.select(name.alias("set"), "photos")


def cooccurrence(sets: pl.DataFrame, names: list[str]) -> np.ndarray:
    """How many photos carry both labels, int64, (labels, labels); on the diagonal: each label."""
    matrix = label_matrix(sets["labels"], names).astype(float)  # BLAS; exact below 2⁵³ photos
    return (matrix.T @ (matrix * sets["photos"].to_numpy()[:, None])).astype(np.int64)


def known_sets(labels: pl.Series, unknown: pl.Series) -> pl.DataFrame:
    """The distinct label sets with what is not known of them: as ``label_sets``, and ``unknown``.

    ``unknown`` is List(String), as long as ``labels``; null where all labels are known.
    """
    table = pl.DataFrame({"labels": labels, "unknown": unknown.fill_null([])})
    return table.group_by("labels", "unknown").agg(photos=_rows())


def carriers(sets: pl.DataFrame, names: list[str]) -> np.ndarray:
    """How many photos there are of which a label is known, of those with another and of all.

    Args:
        sets: of ``known_sets``; or of ``label_sets``, where everything is known.
        names: of all labels.

    Returns:
        int64, (labels + 1, labels): of the photos that carry the row's label, those of which it is
        known whether they carry the column's; in the last row, of all photos.
    """
    known = np.ones((len(sets), len(names)), bool)
    if "unknown" in sets.columns:
        known = ~label_matrix(sets["unknown"], names)
    carried = np.column_stack([label_matrix(sets["labels"], names), np.ones(len(sets), bool)])
    weighted = carried * sets["photos"].to_numpy()[:, None].astype(float)  # BLAS, as above
    return (weighted.T @ known.astype(float)).astype(np.int64)


def per_label(
    sets: pl.DataFrame, names: list[str], known: np.ndarray | None = None
) -> pl.DataFrame:
    """A row a label, the most frequent first.

    Args:
        sets: of ``label_sets``.
        names: of all labels.
        known: int, (labels,): of how many photos each is known; None: of all labelled ones.

    Returns:
        Columns ``label``; ``photos`` that carry it; ``rate``, of the photos of which it is known;
        ``alone``, photos that carry nothing else; ``together``, the sum of its co-occurrences with
        each other label; ``ratio``, that sum for each photo of the label; and ``known``, if given.
    """
    together = cooccurrence(sets, names)
    photos = together.diagonal()
    others = together.sum(axis=1) - photos
    single = sets.filter(pl.col("labels").list.len() == 1)
    alone = dict(zip(single["labels"].list.first(), single["photos"], strict=True))
    table = pl.DataFrame(
        {
            "label": names,
            "photos": photos,
            "rate": ratio(photos, sets["photos"].to_numpy().sum() if known is None else known),
            "alone": [alone.get(name, 0) for name in names],
            "together": others,
            "ratio": ratio(others, photos),
            **({} if known is None else {"known": known}),
        },
        schema_overrides={"label": pl.String, "alone": pl.Int64},
    )
    return table.sort("photos", descending=True, maintain_order=True)


def labels_per_photo(sets: pl.DataFrame) -> pl.DataFrame:
    """``labels``, ``photos``: how many photos carry 0, 1, 2, … labels; no number is left out."""
    sizes = sets.group_by(labels=pl.col("labels").list.len().cast(pl.Int64)).agg(
        pl.col("photos").sum()
    )
    return _without_gaps(sizes, "labels")


def missing_ids(names: Sequence[str]) -> tuple[int, list[int]]:
    """Of labels that are all numbers: how many between the first and last are missing, and which.

    At most ``MOST_MISSING`` are listed. Labels that are not all numbers miss none.

    >>> missing_ids(["1", "2", "4"])
    (1, [3])
    """
    if not names or not all(name.isdecimal() for name in names):
        return 0, []
    ids = {int(name) for name in names}
    first, last = min(ids), max(ids)
    missing = (number for number in range(first, last + 1) if number not in ids)
    return last - first + 1 - len(ids), list(islice(missing, MOST_MISSING))


def sizes(photos: pl.DataFrame) -> pl.DataFrame:
    """``width``, ``height`` in pixels, ``photos``: the distinct sizes, the most frequent first."""
    counts = photos.group_by("width", "height").agg(photos=_rows())
    return counts.sort(-pl.col("photos"), "width", "height")


def caption_lengths(words: pl.Series, subset: pl.Series) -> pl.DataFrame:
    """``words``, ``captions``, ``train``, ``test``: how many captions have 0, 1, 2, … words.

    Stop words count. ``subset`` is a String series as long as ``words``.
    """
    lengths = pl.DataFrame({"words": words.list.len().cast(pl.Int64), "subset": subset})
    of_subset = {name: (pl.col("subset") == name).sum().cast(pl.Int64) for name in SUBSETS}
    counts = lengths.drop_nulls("words").group_by("words").agg(captions=_rows(), **of_subset)
    return _without_gaps(counts, "words")


def word_counts(labels: pl.Series, words: pl.Series) -> pl.DataFrame:
    """How words and labels meet, a row for each pair that does.

    Args:
        labels: List(String), without nulls.
        words: List(String), as long; null where there is no caption, and then not counted.

    Returns:
        ``label``, ``word``; ``captions`` with both; ``share``, of the label's captions;
        ``pmi`` in bits, log₂ p(label, word) / (p(label)·p(word)), Church & Hanks (1990); ``npmi``,
        that divided by −log₂ p(label, word): 1 when neither is seen without the other, 0 when
        they are independent (Bouma, 2009). A word counts once a caption; stop words, and letters
        left over from «man's», do not; a sign of Chinese is no letter.
    """
    captions = pl.DataFrame({"label": labels, "word": words.list.unique(maintain_order=True)})
    captions = captions.filter(pl.col("word").is_not_null())
    a_letter = pl.col("word").str.contains(r"^\P{Han}$")
    a_word = ~a_letter & ~pl.col("word").is_in(list(STOP_WORDS))
    pairs = captions.explode("word").filter(a_word)
    of_word = pairs.group_by("word").agg(of_word=_rows())
    of_label = captions.explode("label").group_by("label").agg(of_label=_rows())
    both = pairs.explode("label").drop_nulls().group_by("label", "word").agg(captions=_rows())
    joint = pl.col("captions") / len(captions)
    independent = (pl.col("of_word") / len(captions)) * (pl.col("of_label") / len(captions))
    return (
        both.join(of_word, on="word")
        .join(of_label, on="label")
        .with_columns(share=pl.col("captions") / pl.col("of_label"))
        .with_columns(pmi=(joint / independent).log(2))
        .with_columns(npmi=pl.when(joint < 1).then(pl.col("pmi") / -joint.log(2)).otherwise(0.0))
        .select("label", "word", "captions", "share", "pmi", "npmi")
    )


def top_words(counts: pl.DataFrame, labels: Sequence[str], count: int) -> pl.DataFrame:
    """The ``count`` words most captions of a label hold, label after label in the given order."""
    return _first_of_each(counts, labels, count, "captions")


def telling_words(counts: pl.DataFrame, labels: Sequence[str], count: int) -> pl.DataFrame:
    """The ``count`` words that point to a label most, by their mutual information with it.

    They are in the order of the normalised figure, which does not favour rare words as the plain
    one does; a pair has been seen ``LEAST_TOGETHER`` times, and more often than by chance.
    """
    enough = counts.filter(pl.col("captions") >= LEAST_TOGETHER, pl.col("npmi") > 0)
    return _first_of_each(enough, labels, count, "npmi")


def alone(photos: pl.DataFrame, labels: Sequence[str], count: int) -> pl.DataFrame:
    """Up to ``count`` photos of each label that carry nothing else: ``label`` and their columns.

    Those whose files have the lowest hash: as good as drawn by lot, the same each time, and
    mostly the same when photos are added. Identical files count once.
    """
    return (
        photos.filter(pl.col("labels").list.len() == 1)
        .unique("sha256", keep="first", maintain_order=True)
        .select(pl.col("labels").list.first().cast(pl.Enum(labels)).alias("label"), pl.all())
        .sort("label", "sha256")
        .group_by("label", maintain_order=True)
        .head(count)
        .with_columns(pl.col("label").cast(pl.String))
    )


def _first_of_each(
    counts: pl.DataFrame, labels: Sequence[str], count: int, by: str
) -> pl.DataFrame:
    return (
        counts.with_columns(pl.col("label").cast(pl.Enum(labels)))
        .sort("label", by, "captions", "word", descending=[False, True, True, False])
        .group_by("label", maintain_order=True)
        .head(count)
        .with_columns(pl.col("label").cast(pl.String))
    )


def _rows() -> pl.Expr:
    return pl.len().cast(pl.Int64)  # signed, since counts are subtracted and negated


def _without_gaps(counts: pl.DataFrame, key: str) -> pl.DataFrame:
    """Sorted by ``key``, with a row of zero for each number up to the largest."""
    largest = counts[key].to_numpy().max(initial=-1)
    numbers = pl.DataFrame({key: np.arange(largest + 1)})
    return numbers.join(counts, on=key, how="left", maintain_order="left").fill_null(0)
