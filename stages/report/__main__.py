"""report: network, decision and validation photos → pages that show what the network looks at."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from stages import UserError, figures, metrics, run
from stages.files import whole, write_csv
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.params import Report, read
from stages.progress import track
from stages.report import choice, findings, heatmaps, pages, telling_words
from stages.report.findings import Findings, Reading
from stages.report.pages import Example
from stages.report.photos import as_seen
from stages.threshold import decision as decisions
from stages.train import network as networks
from stages.train import probabilities
from stages.train.description import Description

PAGES = Path("report")
WORDS = Path("metrics/report/words.csv")


@dataclass(frozen=True)
class Validation:
    """The validation photos and what was said of them, row by row.

    Attributes:
        photos: ``id``, ``labels`` (the true ones), ``image``, ``caption``.
        truth, predicted: bool, (rows, labels).
        probabilities: float32, (rows, labels).
        thresholds: of the labels.
    """

    photos: pl.DataFrame
    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    thresholds: list[float]


def main() -> None:
    params = read(Report)
    started = time.perf_counter()
    validation, store = read_validation(), ImageStore()
    network, description, words = networks.load()
    network.to("cuda" if torch.cuda.is_available() else "cpu", memory_format=torch.channels_last)
    places = choice.places(
        validation.truth, validation.predicted, validation.probabilities,
        params.labels, params.photos,
    )  # fmt: skip
    looks = reading = None
    if description.sees_images:
        looks = findings.look(network, description, words, validation.photos, places, store)
        if looks is None:
            print(
                f"report: {description.backbone} keeps no maps of photos of "
                f"{description.image_size} pixels, so the pages show no heat maps"
            )
    if description.reads_captions:
        reading = findings.read(
            network, description, words, validation.photos, places, store, params.captions
        )
    found = Findings(places, looks, reading)

    with whole(PAGES) as folder:
        folder.mkdir()
        drawings = drawn(found, validation, description, store)
        for name, figure in track(drawings, "report", found.pages, "pages"):
            figures.save_photos(figure, folder / f"{name}.png")
    write_words(reading)
    metrics.write("report", summary(found, description, time.perf_counter() - started))


def read_validation() -> Validation:
    table, decision = probabilities.read(), decisions.read()
    if len(table) == 0:
        raise UserError(f"{probabilities.VALIDATION} has no row; the split left none to look at")
    known = records.read().select("id", "image", "caption")
    scores = decision.calibrate(table["probabilities"].to_numpy())
    return Validation(
        photos=table.select("id", "labels").join(known, on="id", how="left", maintain_order="left"),
        truth=records.label_matrix(table["labels"], decision.labels),
        predicted=decision.decide(scores),
        probabilities=scores,
        thresholds=decision.thresholds,
    )


def drawn(
    found: Findings, validation: Validation, description: Description, store: ImageStore
) -> Iterator[tuple[str, figures.Figure]]:
    """The pages, each with its name: the labels' in the order of the places, then the features'."""
    names = pages.file_names(description.labels)
    for (label,), places in found.places.with_row_index().group_by("label", maintain_order=True):
        yield names[label], label_page(label, places, found, validation, description, store)
    if found.has_feature_maps:
        photos = as_seen(
            store, validation.photos[found.looks.rows]["image"].to_numpy(), description
        )
        stations = [
            f"{name}: {layer.name}, {layer.side} × {layer.side}"
            for name, layer in zip(("early", "middle", "late"), found.looks.stations, strict=False)
        ]
        title = f"Feature maps of {description.backbone}: the channels that answer most"
        yield pages.FEATURES, pages.feature_page(title, photos, stations, found.looks.maps)


def label_page(
    label: int,
    places: pl.DataFrame,
    found: Findings,
    validation: Validation,
    description: Description,
    store: ImageStore,
) -> figures.Figure:
    """The page of one label; ``places`` are its places, with their ``index`` among all."""
    rows = places["row"].to_numpy()
    photos = as_seen(store, validation.photos[rows]["image"].to_numpy(), description)
    heat: list[np.ndarray | None] = [None] * len(rows)
    if found.looks is not None:
        heat = list(heatmaps.enlarged(found.looks.heat[places["index"]], photos.shape[1]))
    examples: dict[str, list[Example]] = {kind: [] for kind in choice.KINDS}
    for place, (kind, row) in enumerate(places.select("kind", "row").iter_rows()):
        _, true, _, caption = validation.photos.row(row)
        words = found.reading.words(row, label) if found.reading is not None else {}
        probability = float(validation.probabilities[row, label])
        examples[kind].append(
            Example(photos[place], heat[place], probability, true, caption, words)
        )
    return pages.label_page(*_heading(label, validation, found, description), examples)


def _heading(
    label: int, validation: Validation, found: Findings, description: Description
) -> tuple[str, str]:
    truth, predicted = validation.truth[:, label], validation.predicted[:, label]
    right, carried = int((truth & predicted).sum()), int(truth.sum())
    notes = (
        f"Found on {right:,} of {carried:,} validation photos that carry it and on "
        f"{int(predicted.sum()) - right:,} of {len(truth) - carried:,} others; threshold "
        f"{validation.thresholds[label]:.3f}"
    )
    if found.looks is not None:
        notes += ". Warm: what speaks for it in each photo (Grad-CAM)"
    if found.reading is not None:
        notes += ". Marked: words that do"
    return figures.short(description.labels[label], 60), notes


def write_words(reading: Reading | None) -> None:
    """``words.csv``: the words that speak for each label; only its header without captions."""
    table = reading.strongest if reading is not None else telling_words.STRONGEST.to_frame()
    rounded = table.with_columns(pl.selectors.float().round(6))
    write_csv(WORDS, rounded.columns, rounded.iter_rows())


def summary(found: Findings, description: Description, seconds: float) -> dict[str, Any]:
    """What ``metrics/report.json`` says."""
    measured: dict[str, Any] = {
        "labels": found.labels,
        "labels_left_out": len(description.labels) - found.labels,
        "photos": len(found.places),
        "seconds": round(seconds, 1),
    }
    if description.sees_images:
        heat = found.looks.heat if found.looks is not None else np.empty((0, 1, 1))
        measured |= {
            "heat_maps": len(heat),
            "heat_maps_blank": int((heat.max(axis=(1, 2)) == 0).sum()),
            "heat_maps_left_out": len(found.places) - len(heat),
        }
    if found.reading is not None:
        measured["captions"] = found.reading.captions
    return measured


if __name__ == "__main__":
    run(main)
