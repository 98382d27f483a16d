"""predict: what the bundle answers for the test photos, as labels and probabilities."""

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
from stages.network.allocation import keep_freed_memory
from stages.network.network import memory_for
from stages.network.probabilities import probability_table, write_probabilities
from stages.params import read
from stages.predict.params import Predict
from stages.predict.sheet import NOBODY, draw_sheet

PREDICTIONS = Path("data/predictions.parquet")
SUBMISSION = Path("data/predictions.csv")


def main() -> None:
    params = read(Predict)
    keep_freed_memory()
    test = records.read().filter(pl.col("subset") == "test")
    model, store = load_model(), ImageStore()
    label_names = model.bundle.labels

    started = time.perf_counter()
    with memory_for("predict.batch_size", params.batch_size):
        probabilities = model.ask(test, store, params.batch_size, "predict")
    seconds = time.perf_counter() - started

    predicted = model.decide(probabilities)
    labels = records.label_lists(predicted, label_names)
    table = probability_table(test["id"], test["labels"], probabilities, test["unknown"])
    write_probabilities(table.with_columns(labels.alias("predicted")), label_names, PREDICTIONS)
    separator = records.separator(label_names)
    if separator != " ":
        print(f"predict: label names hold blanks, so {separator} is between labels in {SUBMISSION}")
    joined = labels.list.join(separator)
    write_csv(SUBMISSION, ["ImageID", "Labels"], zip(test["id"], joined, strict=True))
    if test.is_empty():
        print(f"predict: {NOBODY}")
    draw_sheet(test, labels, store)
    measured = measure(test, probabilities, predicted, label_names, seconds)
    metrics.write("predict", {"model": str(BUNDLE), **measured})


def measure(
    test: pl.DataFrame,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    label_names: list[str],
    seconds: float,
) -> dict[str, Any]:
    """The figures of ``metrics/predict.json``; metrics only of labels that are known.

    Args:
        test: the photos' records.
        probabilities, predicted: float32 and bool (rows, labels).
    """
    measured: dict[str, Any] = {
        "photos": len(probabilities),
        "photos_per_second": round(len(probabilities) / seconds, 1),
        "labels_per_photo": float(predicted.sum(axis=1).mean()) if len(probabilities) else 0.0,
    }
    labelled = test["labels"].is_not_null()
    measured["photos_with_known_labels"] = int(labelled.sum())
    if labelled.any():
        test, rows = test.filter(labelled), labelled.to_numpy()
        truth = records.label_matrix(test["labels"], label_names)
        known = records.known_matrix(test["unknown"], label_names)
        predicted, probabilities = predicted[rows], probabilities[rows]
        precision = metrics.mean_average_precision(truth, probabilities, known)
        measured |= {
            "micro_f1": metrics.micro_f1(truth, predicted, known),
            "macro_f1": metrics.macro_f1(truth, predicted, known),
            "subset_accuracy": metrics.subset_accuracy(truth, predicted, known),
            "hamming_loss": metrics.hamming_loss(truth, predicted, known),
            "mean_average_precision": precision,
        }
    return measured


if __name__ == "__main__":
    run(main)
