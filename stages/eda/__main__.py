"""eda: records and photos → figures, tables and pictures of what is in the data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stages import figures, run
from stages.eda import pictures, statistics
from stages.eda.params import Eda
from stages.files import whole, write_csv
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.metrics import write as write_metrics
from stages.params import read
from stages.words import tokenize_all

TABLES = Path("metrics/eda")
PICTURES = Path("data/eda")
MOST_ROWS = 30  # of label sets and of sizes: the tables are kept in Git
MOST_LABELS = 100  # in the table of co-occurrences, for the same reason


@dataclass(frozen=True)
class Findings:
    """What ``statistics`` has found; labels are in the order of ``labels`` everywhere."""

    photos: pl.DataFrame
    labelled: pl.DataFrame
    labels: pl.DataFrame
    missing: tuple[int, list[int]]
    sets: pl.DataFrame
    per_photo: pl.DataFrame
    cooccurrence: np.ndarray
    sizes: pl.DataFrame
    words: pl.Series
    caption_lengths: pl.DataFrame
    top_words: pl.DataFrame
    telling_words: pl.DataFrame

    @property
    def order(self) -> list[str]:
        return self.labels["label"].to_list()


def main() -> None:
    params = read(Eda)
    found = look(records.read(), records.read_label_names(), params.top_words)
    with whole(PICTURES) as folder:
        folder.mkdir()
        for name, figure in drawn(found, ImageStore(), params.examples):
            save = figures.save_photos if name == "examples" else figures.save
            save(figure, folder / f"{name}.png")
    for name, table in tables(found).items():
        rounded = table.with_columns(pl.selectors.float().round(6))
        write_csv(TABLES / f"{name}.csv", rounded.columns, rounded.iter_rows())
    write_metrics("eda", summary(found))


def look(photos: pl.DataFrame, names: list[str], top_words: int) -> Findings:
    # Labels of test photos, where they are known, are for the last figure, not for decisions.
    is_labelled = (photos["subset"] == "train") & photos["labels"].is_not_null()
    labelled = photos.filter(is_labelled)
    sets = statistics.label_sets(labelled["labels"])
    labels = statistics.per_label(sets, names)
    order = labels["label"].to_list()
    words = tokenize_all(photos["caption"])
    counts = statistics.word_counts(labelled["labels"], words.filter(is_labelled))
    return Findings(
        photos=photos,
        labelled=labelled,
        labels=labels,
        missing=statistics.missing_ids(names),
        sets=sets,
        per_photo=statistics.labels_per_photo(sets),
        cooccurrence=statistics.cooccurrence(sets, order),
        sizes=statistics.sizes(photos),
        words=words,
        caption_lengths=statistics.caption_lengths(words, photos["subset"]),
        top_words=statistics.top_words(counts, order, top_words),
        telling_words=statistics.telling_words(counts, order, top_words),
    )


def drawn(
    found: Findings, store: ImageStore, examples: int
) -> Iterator[tuple[str, figures.Figure]]:
    """The pictures, each with its name; those that would be empty are left out."""
    yield "sizes", pictures.sizes(found.sizes)
    if len(found.labels) and len(found.labelled):
        yield "labels", pictures.labels(found.labels, len(found.labelled), found.missing[1])
        yield "label_sets", pictures.label_sets(_named(found.sets), found.per_photo)
        yield "cooccurrence", pictures.cooccurrence(found.cooccurrence, found.labels)
        alone = statistics.alone(found.labelled, found.order, examples)
        if len(alone):
            photos = store.gather(alone["image"].to_numpy())
            yield "examples", pictures.examples(alone, photos, found.order, examples)
    if len(found.caption_lengths):
        yield "caption_lengths", pictures.caption_lengths(found.caption_lengths, records.SUBSETS)
    if len(found.top_words):
        title = "The words that most captions of a label hold"
        yield "top_words", pictures.words(found.top_words, "share", "{:.0%}", title, found.order)
    if len(found.telling_words):
        title = "The words that point to a label most: normalised mutual information, 1 at most"
        yield (
            "telling_words",
            pictures.words(found.telling_words, "npmi", "{:.2f}", title, found.order),
        )


def tables(found: Findings) -> dict[str, pl.DataFrame]:
    """What goes to ``metrics/eda``, in the order it is shown there."""
    order = found.order[:MOST_LABELS]
    row, column = np.nonzero(found.cooccurrence[: len(order), : len(order)])
    both = found.cooccurrence[row, column]
    pairs = {
        "label": [order[i] for i in row],
        "other": [order[i] for i in column],
        "photos": both,
        "share": both / found.cooccurrence[row, row],  # of the photos of ``label``
    }
    size = pl.format("{} × {}", "width", "height")
    return {
        "labels": found.labels,
        "labels_per_photo": found.per_photo,
        "label_sets": _named(found.sets).head(MOST_ROWS),
        "cooccurrence": pl.DataFrame(pairs),
        "sizes": found.sizes.select(size.alias("size"), pl.all()).head(MOST_ROWS),
        "caption_lengths": found.caption_lengths,
        "top_words": found.top_words,
        "telling_words": found.telling_words,
    }


def summary(found: Findings) -> dict[str, Any]:
    """``metrics/eda.json``: few figures, those that a new delivery of photos may change."""
    captions = found.photos["caption"]
    lengths = found.words.list.len()
    count, listed = found.missing
    return {
        "photos": {
            **{name: (found.photos["subset"] == name).sum() for name in records.SUBSETS},
            "labelled": len(found.labelled),
            "without_any_label": (found.labelled["labels"].list.len() == 0).sum(),
            "with_one_label": (found.labelled["labels"].list.len() == 1).sum(),
        },
        "labels": {
            "names": len(found.labels),
            "never_used": (found.labels["photos"] == 0).sum(),
            "missing": count,
            "missing_ids": listed,
            "sets": len(found.sets),
            "per_photo": _spread(found.labelled["labels"].list.len()),
            "rate": _spread(found.labels["rate"]),
            "cooccurrence_ratio": _spread(found.labels["ratio"]),
        },
        "sizes": {
            "distinct": len(found.sizes),
            "width": _spread(found.photos["width"]),
            "height": _spread(found.photos["height"]),
            "landscape": (found.photos["width"] > found.photos["height"]).sum(),
            "square": (found.photos["width"] == found.photos["height"]).sum(),
            "portrait": (found.photos["width"] < found.photos["height"]).sum(),
        },
        "captions": {
            **{
                name: captions.filter(found.photos["subset"] == name).count()
                for name in records.SUBSETS
            },
            "distinct": captions.drop_nulls().n_unique(),
            "length": _spread(lengths),
            "words": found.words.explode(empty_as_null=False).drop_nulls().n_unique(),
        },
    }


def _spread(values: pl.Series) -> dict[str, Any]:
    """Least, median, mean and most of what is known; nothing where nothing is."""
    if values.count() == 0:
        return {}
    return {
        "min": values.min(),
        "median": values.median(),
        "mean": values.mean(),
        "max": values.max(),
    }


def _named(sets: pl.DataFrame) -> pl.DataFrame:
    """``set``, a name to read, and ``photos``, of label sets."""
    name = pl.col("labels").list.join(" + ").replace("", "no label")
    return sets.select(name.alias("set"), "photos")


if __name__ == "__main__":
    run(main)
