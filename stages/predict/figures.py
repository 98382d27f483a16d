"""The figures of ``metrics/predict.json``."""

from typing import Any

import numpy as np
import polars as pl

from stages.ingest import records
from stages.intervals import report
from stages.network.probabilities import read_probabilities
from stages.threshold.captions_alone import CAPTIONS_ALONE
from stages.threshold.figures import of_labels, points, without_model

SHOWN = ("micro_f1", "macro_f1", "subset_accuracy", "hamming_loss", "mean_average_precision")


def measure(
    asked: pl.DataFrame,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    label_names: list[str],
    seconds: float,
) -> dict[str, Any]:
    """How many photos there are and what is said of them; metrics only of labels that are known.

    Nothing was chosen by these photos. ``holdout`` are their metrics with intervals.

    Args:
        asked: the photos' records.
        probabilities, predicted: float32 and bool (rows, labels).
    """
    measured: dict[str, Any] = {
        "photos": len(probabilities),
        "photos_per_second": round(len(probabilities) / seconds, 1) if seconds else 0.0,
        "labels_per_photo": float(predicted.sum(axis=1).mean()) if len(probabilities) else 0.0,
    }
    labelled = asked["labels"].is_not_null()
    measured["photos_with_known_labels"] = int(labelled.sum())
    if labelled.any():
        rows = labelled.to_numpy()
        measured |= of_holdout(
            asked.filter(labelled), probabilities[rows], predicted[rows], label_names
        )
    return measured


def of_holdout(
    holdout: pl.DataFrame, probabilities: np.ndarray, predicted: np.ndarray, label_names: list[str]
) -> dict[str, Any]:
    """The metrics of photos whose labels are known, with what one reaches without the network."""
    truth = records.label_matrix(holdout["labels"], label_names)
    known = records.known_matrix(holdout["unknown"], label_names)
    figures = report(truth, probabilities, predicted, known)
    captions = read_probabilities(CAPTIONS_ALONE)
    measured: dict[str, Any] = {name: figures[name]["value"] for name in SHOWN}
    measured |= {"holdout": figures, "without_model": without_model(truth, known)}
    if len(captions):
        captions = holdout.select("id").join(captions, "id", "left", maintain_order="left")
        decided = records.label_matrix(captions["predicted"], label_names)
        scores = captions["probabilities"].to_numpy()
        measured["captions_alone"] = points(truth, scores, decided, known)
    return measured | of_labels(truth, probabilities, predicted, label_names, known)
