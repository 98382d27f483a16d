"""report: bundle, figures and validation photos → a page that shows what came out."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stages import metrics, run
from stages.bundle.bundle import read as read_bundle
from stages.explain import word_effects
from stages.explain.explainer import Explainer
from stages.files import whole, write_csv
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.description import Description
from stages.params import read
from stages.report import (
    card,
    example_choice,
    explanations,
    label_quality,
    page,
    pictures,
    sections,
)
from stages.report import validation as validations
from stages.report.explanations import Findings, Reading
from stages.report.params import Report

REPORT = Path("report")
CHECKED = Path("data/checked.csv")
WORDS = Path("metrics/report/words.csv")


def main() -> None:
    params = read(Report)
    started = time.perf_counter()
    bundle = read_bundle()
    description, explainer = bundle.description, Explainer(bundle)
    validation, photos, store = validations.read(bundle), records.read(), ImageStore()
    judged = label_quality.out_of_fold(Path(params.out_of_fold), validation, photos)
    places = example_choice.places(
        validation.truth, validation.predicted, validation.probabilities, validation.thresholds,
        params.labels, params.photos,
    )  # fmt: skip
    looks = reading = None
    if description.sees_images:
        looks = explanations.look(explainer, validation.photos, places, store)
        if looks is None:
            print(
                f"report: {description.backbone} keeps no maps of photos of "
                f"{description.input_size} pixels, so the page shows no heat maps"
            )
    if description.reads_captions:
        reading = explanations.read(
            explainer, validation.names, validation.photos, places, store, params.captions
        )
    found = Findings(places, looks, reading)

    summary, drawn = sections.about(description, params)
    labels, of_labels = sections.of_labels(validation, params)
    training, of_training = sections.of_training()
    content = summary | labels | training | sections.of_data()
    content |= sections.of_photos(found, validation)
    checked = pl.read_csv(CHECKED, schema={"id": pl.String})
    doubts = label_quality.in_doubt(judged).join(checked, "id", "anti", maintain_order="left")
    to_do = label_quality.to_work_through(doubts)
    content |= sections.of_quality(to_do, judged.photos["id"], checked["id"], photos, store)
    content["thumbnails"] = pictures.thumbnails(sections.images(content), store, description)
    content["charts"] = drawn | of_labels | of_training
    content["card"] = card.read()
    content["sections"] = sections.SECTIONS
    with whole(REPORT) as folder:
        folder.mkdir()
        size = page.write(folder / "index.html", content)
        write_csv(folder / "label_quality.csv", to_do.columns, to_do.iter_rows())
    write_words(reading)
    metrics.write("report", measured(found, description, size, time.perf_counter() - started))


def write_words(reading: Reading | None) -> None:
    """``words.csv``: the words that speak for each label; only its header without captions."""
    table = reading.strongest if reading is not None else word_effects.STRONGEST.to_frame()
    rounded = table.with_columns(pl.selectors.float().round(6))
    write_csv(WORDS, rounded.columns, rounded.iter_rows())


def measured(
    found: Findings, description: Description, size: int, seconds: float
) -> dict[str, Any]:
    """What ``metrics/report.json`` says; ``size`` is the page's, in bytes."""
    told: dict[str, Any] = {
        "labels": found.labels,
        "labels_left_out": len(description.labels) - found.labels,
        "photos": len(found.places),
        "page_mb": round(size / 1e6, 2),
        "seconds": round(seconds, 1),
    }
    if description.sees_images:
        heat = found.looks.heat if found.looks is not None else np.empty((0, 1, 1))
        told |= {
            "heat_maps": len(heat),
            "heat_maps_blank": int((heat.max(axis=(1, 2)) == 0).sum()),
            "heat_maps_left_out": len(found.places) - len(heat),
        }
    if found.reading is not None:
        told["captions"] = found.reading.captions
    return told


if __name__ == "__main__":
    run(main)
