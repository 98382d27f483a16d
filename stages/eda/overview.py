"""All statistics of the records, each made once, for tables, pictures and figures alike."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.eda import statistics
from stages.words import Segmentation, tokenize


@dataclass(frozen=True)
class Overview:
    """What the functions of ``statistics`` say of the records; tables as they describe them.

    Attributes:
        photos: the records.
        labelled: those of subset ``train`` whose labels are known.
        labels: a row a label; the order of labels everywhere. It has the column ``known`` where
            some labels are not known of all labelled photos.
        missing: how many ids are missing between the labels, and the first of them.
        sets: the label sets.
        per_photo: how many photos carry 0, 1, 2, … labels.
        cooccurrence: int64, (labels, labels).
        carriers: int64, (labels, labels): the photos of a row's label of which the column's is
            known.
        sizes: of the photos.
        words: List(String), those of each record's caption; null where there is none.
        caption_lengths: how many captions have 0, 1, 2, … words.
        top_words, telling_words: of each label.
    """

    photos: pl.DataFrame
    labelled: pl.DataFrame
    labels: pl.DataFrame
    missing: tuple[int, list[int]]
    sets: pl.DataFrame
    per_photo: pl.DataFrame
    cooccurrence: np.ndarray
    carriers: np.ndarray
    sizes: pl.DataFrame
    words: pl.Series
    caption_lengths: pl.DataFrame
    top_words: pl.DataFrame
    telling_words: pl.DataFrame

    @property
    def label_names(self) -> list[str]:
        """The labels, the most frequent first."""
        return self.labels["label"].to_list()


def look_over(
    photos: pl.DataFrame,
    names: list[str],
    top_words: int,
    segmentation: Segmentation = "letters",
) -> Overview:
    """The overview of ``photos``, which are records.

    Args:
        names: of all labels.
        top_words: how many words a label has in the tables of words.
        segmentation: what a word is.
    """
    # Labels of test photos, where they are known, are for the last figure, not for decisions.
    is_labelled = (photos["subset"] == "train") & photos["labels"].is_not_null()
    labelled = photos.filter(is_labelled)
    sets = statistics.label_sets(labelled["labels"])
    some_unknown = labelled["unknown"].is_not_null().any()
    known = statistics.known_sets(labelled["labels"], labelled["unknown"]) if some_unknown else sets
    carriers = statistics.carriers(known, names)
    labels = statistics.per_label(sets, names, carriers[-1] if some_unknown else None)
    order = labels["label"].to_list()
    columns = [names.index(name) for name in order]
    words = tokenize(photos["caption"], segmentation)
    counts = statistics.word_counts(labelled["labels"], words.filter(is_labelled))
    return Overview(
        photos=photos,
        labelled=labelled,
        labels=labels,
        missing=statistics.missing_ids(names),
        sets=sets,
        per_photo=statistics.labels_per_photo(sets),
        cooccurrence=statistics.cooccurrence(sets, order),
        carriers=carriers[np.ix_(columns, columns)],
        sizes=statistics.sizes(photos),
        words=words,
        caption_lengths=statistics.caption_lengths(words, photos["subset"]),
        top_words=statistics.top_words(counts, order, top_words),
        telling_words=statistics.telling_words(counts, order, top_words),
    )
