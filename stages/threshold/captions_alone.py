"""What captions alone tell by a plain model, which a network has to beat.

Of the words that a caption network knows, TF-IDF (Spärck Jones 1972), and on it a logistic
regression for each label. ``data/captions_alone.parquet`` is what it says of the photos that no
stage before predict measures on: a table as ``stages.network.probabilities`` has them, with the
labels ``predicted``; ``labels`` are null. It has no row where no training photo has a caption.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from stages.ingest.records import label_lists
from stages.network.probabilities import probability_table, write_probabilities
from stages.vocab.vocabulary import UNKNOWN, Vocabulary

CAPTIONS_ALONE = Path("data/captions_alone.parquet")
INVERSE_PENALTY = 10.0  # above scikit-learn's 1, since rows of TF-IDF have the length 1


def learn(
    vocabulary: Vocabulary, captions: pl.Series, truth: np.ndarray, known: np.ndarray | None
) -> Callable[[pl.Series], np.ndarray]:
    """What gives probabilities, float32 (captions, labels), to captions, String (captions,).

    Args:
        captions: of the training photos; null: none.
        truth: bool (captions, labels).
        known: bool (captions, labels), of which labels the truth is known; None: all.
    """
    from sklearn.feature_extraction.text import TfidfTransformer  # a second, for one stage
    from sklearn.linear_model import LogisticRegression

    weighting = TfidfTransformer()
    features = weighting.fit_transform(_counts(vocabulary, captions))

    def of_label(place: int) -> Callable[[sparse.csr_array], np.ndarray]:
        rows = slice(None) if known is None else np.flatnonzero(known[:, place])
        true = truth[rows, place]
        if true.all() or not true.any():
            return lambda asked: np.full(asked.shape[0], float(true.any()))
        model = LogisticRegression(C=INVERSE_PENALTY, solver="liblinear").fit(features[rows], true)
        return lambda asked: model.predict_proba(asked)[:, 1]

    models = [of_label(place) for place in range(truth.shape[1])]

    def ask(captions: pl.Series) -> np.ndarray:
        if captions.is_empty():  # which scikit-learn does not take
            return np.zeros((0, len(models)), np.float32)
        asked = weighting.transform(_counts(vocabulary, captions))
        return np.stack([model(asked) for model in models], axis=1).astype(np.float32)

    return ask


def write(ids: pl.Series, probabilities: np.ndarray, decided: np.ndarray, names: list[str]) -> None:
    """Writes ``data/captions_alone.parquet``; float32 and bool (rows, labels)."""
    unseen = pl.Series("labels", [None] * len(ids), pl.List(pl.String))
    predicted = label_lists(decided, names).alias("predicted")
    table = probability_table(ids, unseen, probabilities).with_columns(predicted)
    write_probabilities(table, names, CAPTIONS_ALONE)


def _counts(vocabulary: Vocabulary, captions: pl.Series) -> sparse.csr_array:
    """How often each known word is in each caption: float (captions, words)."""
    numbers = vocabulary.encode(captions)
    rows, places = np.nonzero(numbers > UNKNOWN)
    shape = len(captions), len(vocabulary)
    words = (np.ones(len(rows)), (rows, numbers[rows, places]))
    return sparse.csr_array(sparse.coo_array(words, shape=shape))
