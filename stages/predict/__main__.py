"""predict: what the bundle answers for photos of the test set and of the holdout."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stages import metrics, run
from stages.bundle.bundle import BUNDLE
from stages.bundle.model import load_model
from stages.files import write_csv
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.intervals import report
from stages.network.allocation import keep_freed_memory
from stages.network.network import memory_for
from stages.network.probabilities import (
    probability_table,
    read_probabilities,
    write_probabilities,
)
from stages.params import read
from stages.predict.params import Predict
from stages.predict.sheet import NOBODY, draw_sheet
from stages.split import folds
from stages.threshold.captions_alone import CAPTIONS_ALONE
from stages.threshold.figures import of_labels, points, without_model

PREDICTIONS = Path("data/predictions.parquet")
SUBMISSION = Path("data/predictions.csv")
SHOWN = ("micro_f1", "macro_f1", "subset_accuracy", "hamming_loss", "mean_average_precision")


def main() -> None:
    params = read(Predict)
    keep_freed_memory()
    asked = folds.rows_for_predict(records.read(), folds.read())
    test = asked["subset"] == "test"
    model, store = load_model(), ImageStore()
    label_names = model.bundle.labels

    started = time.perf_counter()
    with memory_for("predict.batch_size", params.batch_size):
        probabilities = model.ask(asked, store, params.batch_size, "predict")
    seconds = time.perf_counter() - started

    predicted = model.decide(probabilities)
    labels = records.label_lists(predicted, label_names)
    table = probability_table(asked["id"], asked["labels"], probabilities, asked["unknown"])
    write_probabilities(table.with_columns(labels.alias("predicted")), label_names, PREDICTIONS)
    separator = records.separator(label_names)
    if separator != " ":
        print(f"predict: label names hold blanks, so {separator} is between labels in {SUBMISSION}")
    of_test = pl.DataFrame([asked["id"], labels.list.join(separator)]).filter(test)
    write_csv(SUBMISSION, ["ImageID", "Labels"], of_test.iter_rows())
    if asked.is_empty():
        print(f"predict: {NOBODY}")
    draw_sheet(asked, labels, store)
    measured = measure(asked, probabilities, predicted, label_names, seconds)
    metrics.write("predict", {"model": str(BUNDLE), **measured})
    names = [name for name in metrics.HEADLINE if name in measured]
    metrics.write("holdout", {f"holdout_{name}": measured[name] for name in names})


def measure(
    asked: pl.DataFrame,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    label_names: list[str],
    seconds: float,
) -> dict[str, Any]:
    """The figures of ``metrics/predict.json``; metrics only of labels that are known.

    Nothing was chosen by these photos. ``holdout`` are their metrics with intervals.

    Args:
        asked: the photos' records.
        probabilities, predicted: float32 and bool (rows, labels).
    """
    measured: dict[str, Any] = {
        "photos": len(probabilities),
        "photos_per_second": round(len(probabilities) / seconds, 1),
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


if __name__ == "__main__":
    run(main)
