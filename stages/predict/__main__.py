"""predict: what the bundle answers for photos of the test set and of the holdout."""

from pathlib import Path

import polars as pl

from stages import metrics, run
from stages.bundle.bundle import BUNDLE
from stages.bundle.model import load_model
from stages.files import write_csv
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.allocation import keep_freed_memory
from stages.network.probabilities import probability_table, write_probabilities
from stages.params import read
from stages.predict.answers import answers
from stages.predict.figures import measure
from stages.predict.params import Predict
from stages.predict.sheet import NOBODY, draw_sheet
from stages.split import folds

PREDICTIONS = Path("data/predictions.parquet")
SUBMISSION = Path("data/predictions.csv")


def main() -> None:
    params = read(Predict)
    keep_freed_memory()
    asked = folds.rows_for_predict(records.read(), folds.read())
    test = asked["subset"] == "test"
    model, store = load_model(), ImageStore()
    label_names = model.bundle.labels

    with answers(model, asked, store, params.batch_size) as (probabilities, seconds):
        predicted = model.decide(probabilities)
        labels = records.label_lists(predicted, label_names)
        table = probability_table(asked["id"], asked["labels"], probabilities, asked["unknown"])
        write_probabilities(table.with_columns(labels.alias("predicted")), label_names, PREDICTIONS)
        measured = measure(asked, probabilities, predicted, label_names, seconds)

    separator = records.separator(label_names)
    if separator != " ":
        print(f"predict: label names hold blanks, so {separator} is between labels in {SUBMISSION}")
    of_test = pl.DataFrame([asked["id"], labels.list.join(separator)]).filter(test)
    write_csv(SUBMISSION, ["ImageID", "Labels"], of_test.iter_rows())
    if asked.is_empty():
        print(f"predict: {NOBODY}")
    draw_sheet(asked, labels, store)
    metrics.write("predict", {"model": str(BUNDLE), **measured})
    names = [name for name in metrics.HEADLINE if name in measured]
    metrics.write("holdout", {f"holdout_{name}": measured[name] for name in names})


if __name__ == "__main__":
    run(main)
