"""predict: network and decision → labels and probabilities of the test photos."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from stages import figures, metrics, run
from stages.files import whole, write_csv
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network import network as networks
from stages.network import probabilities as tables
from stages.network.allocation import keep_freed_memory
from stages.network.precision import precision_for
from stages.params import read
from stages.predict.params import Predict
from stages.progress import track
from stages.threshold import decision as decisions

PREDICTIONS = Path("data/predictions.parquet")
SUBMISSION = Path("data/predictions.csv")
SHEET = Path("data/predictions.png")
SHEET_PHOTOS, SHEET_COLUMNS = 24, 8


def main() -> None:
    params = read(Predict)
    keep_freed_memory()
    test = records.read().filter(pl.col("subset") == "test")
    network, description, words = networks.load()
    decision = decisions.read()
    store = ImageStore()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device, memory_format=torch.channels_last)

    started = time.perf_counter()
    rows = networks.rows_for(description, test, store, words, targets=None)
    batches = rows.batches(params.batch_size, device)
    precision = precision_for(device, description.precision)
    outputs = networks.logits(network, description, batches, precision)
    count = -(-len(rows) // params.batch_size)
    found = [np.empty((0, len(description.labels)), np.float32)]
    with networks.memory_for("predict.batch_size", params.batch_size):
        for _, output in track(outputs, "predict", count, "batches"):
            found.append(output.sigmoid().cpu().numpy())
    seconds = time.perf_counter() - started

    found = decision.calibrate(np.concatenate(found))
    predicted = decision.decide(found)
    labels = records.label_lists(predicted, description.labels)
    table = tables.table(test["id"], test["labels"], found)
    tables.write(table.with_columns(labels.alias("predicted")), description.labels, PREDICTIONS)
    separator = records.separator(description.labels)
    if separator != " ":
        print(f"predict: label names hold blanks, so {separator} is between labels in {SUBMISSION}")
    joined = labels.list.join(separator)
    write_csv(SUBMISSION, ["ImageID", "Labels"], zip(test["id"], joined, strict=True))
    draw_sheet(test, labels, store)
    metrics.write("predict", measure(test["labels"], found, predicted, description.labels, seconds))


def measure(
    labels: pl.Series,
    found: np.ndarray,
    predicted: np.ndarray,
    label_names: list[str],
    seconds: float,
) -> dict[str, Any]:
    """What ``metrics/predict.json`` says; metrics only over photos whose labels are known."""
    measured: dict[str, Any] = {
        "photos": len(found),
        "photos_per_second": round(len(found) / seconds, 1),
        "labels_per_photo": float(predicted.sum(axis=1).mean()) if len(found) else 0.0,
    }
    known = labels.is_not_null().to_numpy()
    measured["photos_with_known_labels"] = int(known.sum())
    if known.any():
        truth = records.label_matrix(labels.drop_nulls(), label_names)
        measured |= {
            "micro_f1": metrics.micro_f1(truth, predicted[known]),
            "macro_f1": metrics.macro_f1(truth, predicted[known]),
            "subset_accuracy": metrics.subset_accuracy(truth, predicted[known]),
            "hamming_loss": metrics.hamming_loss(truth, predicted[known]),
            "mean_average_precision": metrics.mean_average_precision(truth, found[known]),
        }
    return measured


def draw_sheet(test: pl.DataFrame, predicted: pl.Series, store: ImageStore) -> None:
    """The first test photos with what was predicted, and what is true where that is known."""
    shown = test.head(SHEET_PHOTOS)
    photos = list(store.gather(shown["image"].to_numpy()))
    found = predicted.head(len(shown))
    names = [_name(list(p), true) for p, true in zip(found, shown["labels"], strict=True)]
    captions = [caption or "" for caption in shown["caption"]]
    title = f"Predicted labels of the first {len(shown)} of {len(test):,} test photos"
    if shown["labels"].is_not_null().any():
        title += "; after ✗ what is true"
    sheet = figures.contact_sheet(title, photos, names, captions, SHEET_COLUMNS)
    with whole(SHEET) as temporary:
        figures.save_photos(sheet, temporary)


def _name(predicted: list[str], true: pl.Series | None) -> str:
    text = " ".join(predicted) or "none"
    if true is None:
        return text
    if list(true) == predicted:
        return f"{text} ✓"
    return f"{text} ✗ {' '.join(true) or 'none'}"


if __name__ == "__main__":
    run(main)
