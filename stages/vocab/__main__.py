"""vocab: training captions → the words that a caption network knows."""

from typing import Any

import numpy as np
import polars as pl

from stages import run
from stages.ingest import records
from stages.metrics import write as write_metrics
from stages.params import read
from stages.split import folds
from stages.vocab import vocabulary
from stages.vocab.params import Vocab
from stages.vocab.vocabulary import Vocabulary


def main() -> None:
    params = read(Vocab)
    table, parts = records.read(), folds.read()
    train, validation = (
        folds.rows_of(table, parts, part)["caption"] for part in ("train", "validation")
    )
    built = vocabulary.build(
        train,
        normalize=params.normalize,
        drop_stop_words=params.stop_words == "drop",
        min_count=params.min_count,
        max_words=params.max_words,
        max_length=params.max_length,
        segmentation=params.segmentation,
    )
    vocabulary.write(built)
    write_metrics("vocab", measure(built, train, validation))


def measure(built: Vocabulary, train: pl.Series, validation: pl.Series) -> dict[str, Any]:
    """Size, how much of the validation captions is known, and how long training captions are."""
    words = built.normalized(validation)["word"]
    distinct = words.unique()
    captions = built.normalized(train)["caption"].to_numpy()  # of each word its caption's number
    lengths = np.bincount(captions, minlength=max(len(train), 1))
    return {
        "words": len(built.words),
        "validation": {
            "words": len(words),
            "coverage": built.share_known(validation),
            "distinct_words": len(distinct),
            "distinct_coverage": distinct.is_in(built.words).mean(),
        },
        "caption_length": {
            f"p{percent}": int(np.percentile(lengths, percent, method="higher"))
            for percent in (50, 90, 99, 100)
        },
        "captions_cut": float((lengths > built.max_length).mean()),
    }


if __name__ == "__main__":
    run(main)
