"""report: bundle, figures and validation photos → a page that shows what came out."""

import time
from pathlib import Path
from typing import Any

import polars as pl

from stages import for_people, metrics, run
from stages.bundle.bundle import read_bundle
from stages.files import whole, write_csv
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.description import Description
from stages.params import read
from stages.report import page
from stages.report.explanations import Explanations, explain, write_words
from stages.report.label_quality import find_doubts
from stages.report.params import Report
from stages.report.sections import page_content
from stages.report.validation import read_validation

REPORT = Path("report")


def main() -> None:
    params = read(Report)
    started = time.perf_counter()
    bundle = read_bundle()
    validation, photos, store = read_validation(bundle), records.read(), ImageStore()

    doubts = find_doubts(Path(params.out_of_fold), validation, photos)
    explanations = explain(bundle, validation, store, params)
    content = page_content(bundle, params, validation, doubts, explanations, photos, store)

    with whole(REPORT) as folder:
        folder.mkdir()
        size = page.write(folder / "index.html", content)
        # The other columns are exact: corrections are made of them.
        only_people = pl.col("suggested", "caption").map_elements(for_people, pl.String)
        listed = doubts.photos.with_columns(only_people)
        write_csv(folder / "label_quality.csv", listed.columns, listed.iter_rows())
    write_words(explanations.words)
    seconds = time.perf_counter() - started
    metrics.write("report", measure(explanations, bundle.description, size, seconds))


def measure(
    explanations: Explanations, description: Description, size: int, seconds: float
) -> dict[str, Any]:
    """The content of ``metrics/report.json``; ``size`` is the page's, in bytes."""
    examples = explanations.examples
    labels = examples["label"].n_unique()
    figures: dict[str, Any] = {
        "labels": labels,
        "labels_left_out": len(description.labels) - labels,
        "photos": len(examples),
        "page_mb": round(size / 1e6, 2),
        "seconds": round(seconds, 1),
    }
    if description.sees_images:
        heat_maps = [] if explanations.photos is None else list(explanations.photos.heat_maps)
        figures |= {
            "heat_maps": len(heat_maps),
            "heat_maps_blank": sum(not heat_map.any() for heat_map in heat_maps),
            "heat_maps_left_out": len(examples) - len(heat_maps),
        }
    if explanations.words is not None:
        figures["captions"] = explanations.words.captions
    return figures


if __name__ == "__main__":
    run(main)
