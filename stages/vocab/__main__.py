"""vocab: training captions → the words that a caption network knows."""

from typing import Any

import numpy as np
import polars as pl

from stages import run
from stages.ingest import records
from stages.metrics import write as write_metrics
from stages.params import Vocab, read
from stages.split import folds
from stages.vocab import vocabulary
from stages.vocab.vocabulary import Vocabulary


def main() -> None:
    params = read(Vocab)
    everything, parts = records.read(), folds.read()
    train, validation = (
        folds.rows_of(everything, parts, part)["caption"] for part in ("train", "validation")
    )
    built = vocabulary.build(
        train,
        normalize=params.normalize,
        drop_stop_words=params.stop_words == "drop",
        min_count=params.min_count,
        max_words=params.max_words,
        max_length=params.max_length,
    )
    vocabulary.write(built)
    write_metrics("vocab", figures(built, train, validation))


def figures(built: Vocabulary, train: pl.Series, validation: pl.Series) -> dict[str, Any]:
    """Size, how much of unseen captions is known, and how long training captions are."""
    known = set(built.words)
    words = [word for caption in validation for word in built.normalized(caption)]
    lengths = np.array([len(built.normalized(caption)) for caption in train] or [0])
    return {
        "words": len(built.words),
        "validation": {
            "words": len(words),
            "coverage": sum(word in known for word in words) / len(words) if words else None,
            "distinct_words": len(set(words)),
            "distinct_coverage": len(known & set(words)) / len(set(words)) if words else None,
        },
        "caption_length": {
            f"p{percent}": int(np.percentile(lengths, percent, method="higher"))
            for percent in (50, 90, 99, 100)
        },
        "captions_cut": float((lengths > built.max_length).mean()),
    }


if __name__ == "__main__":
    run(main)
