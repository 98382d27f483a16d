"""What each section of the page shows: names that its template asks for, with their values."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from stages import metrics
from stages.ingest.images import ImageStore
from stages.ingest.records import SEPARATOR
from stages.network.description import Description
from stages.params import load
from stages.report import (
    by_label,
    charts,
    examples,
    photo_quality,
    pictures,
    revision,
    summary,
)
from stages.report.charts import Spec
from stages.report.explanations import Findings
from stages.report.params import Report
from stages.report.validation import Validation
from stages.split import folds

EPOCHS = Path("metrics/train/plots/metrics")
RELIABILITY = Path("metrics/threshold/reliability.csv")
REJECTED = Path("data/rejected.csv")
EDA = Path("data/eda")

MOST_PAIRS = 15  # of labels, in a table …
MOST_MAPPED = 40  # … and labels in the heat map, whose cells are the square of that
MOST_REASONS = 20
MOST_DOUBTS = 50  # photos
MOST_GROUPS = 12  # of photos that are the same
MOST_ODD = 6  # photos of a kind

SECTIONS = {
    "summary": "What this model is",
    "labels": "Label by label",
    "training": "How it was trained",
    "data": "The data",
    "photos": "Photos",
    "quality": "Label quality",
    "card": "Model card",
}
CURVES = {  # by chart: series, and the files that they are in
    "loss": {"Loss, training": "train/loss", "Loss, validation": "validation/loss"},
    "scores": {
        "Micro-F1, training": "train/micro_f1",
        "Micro-F1, validation": "validation/micro_f1",
        "Macro-F1, validation": "validation/macro_f1",
        "mAP, validation": "validation/mean_average_precision",
    },
    "rate": {"Learning rate": "train/lr"},
    "speed": {"Photos per second": "train/photos_per_second"},
}
BEST = {
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "mean_average_precision": "mean average precision",
}
HEADINGS = {
    "best": "Found, and the network is most certain",
    "typical": "Typical: about the median probability of the photos that carry the label",
    "borderline": "Borderline: nearest to the threshold",
    "false_positive": "Found wrongly, and the network is most certain",
    "false_negative": "Missed, and the network is most certain",
}
ODD = {
    "dark": "Dark",
    "bright": "Bright",
    "sharpness": "Blurred",
    "shape": "Odd in shape",
}
PICTURES = {
    "labels": "How many photos carry each label",
    "label_sets": "How many labels a photo carries, and which combinations are frequent",
    "cooccurrence": "Which label comes with which",
    "sizes": "Widths and heights of the photos",
    "caption_lengths": "How long the captions are",
    "top_words": "Frequent words in the captions of each label",
    "telling_words": "Telling words in the captions of each label",
    "examples": "Photos that carry one label alone",
}


def said(stage: str) -> dict[str, Any]:
    """What ``metrics/STAGE.json`` says."""
    return json.loads((metrics.FOLDER / f"{stage}.json").read_text("utf-8"))


def about(description: Description, params: Report) -> tuple[dict[str, Any], dict[str, Spec]]:
    """The page's beginning, and what several sections ask for."""
    figures, train = said("threshold"), load()["train"]
    kind, name = summary.run_name()
    other = summary.against(params.against)
    committed = revision.find("HEAD")
    rows = summary.headline(figures["cross_fitted"], other)
    runs = {"this model": ("value", "low", "high")}
    if other and other.metrics:
        runs[params.against] = ("other", "other_low", "other_high")
    content = {
        "kind": kind,
        "name": name,
        "description": description,
        "network": _network(description),
        "names": description.labels,
        "headline": rows.to_dicts(),
        "precision": figures["cross_fitted"]["micro_precision"],
        "recall": figures["cross_fitted"]["micro_recall"],
        "exact": figures["cross_fitted"]["subset_accuracy"],
        "other": other,
        "wanted": params.against,
        "committed": committed,
        "settings": summary.settings(committed, other),
        "max_mb": train["max_mb"],
        "max_hours": train["max_hours"],
        "ingest": said("ingest"),
        "split": said("split"),
        "train": said("train"),
        "bundle": said("bundle"),
    }
    tables = [
        rows.select("metric", pl.lit(run).alias("run"), *map(pl.col, columns)).rename(
            dict(zip(columns, ("value", "low", "high"), strict=True))
        )
        for run, columns in runs.items()
    ]
    return content, {"headline": charts.headline(pl.concat(tables))}


def of_labels(validation: Validation, params: Report) -> tuple[dict[str, Any], dict[str, Spec]]:
    figures = said("threshold")
    labels = pl.DataFrame(
        [
            {"label": label, "threshold": threshold} | figures["labels"][label]
            for label, threshold in zip(validation.names, validation.thresholds, strict=True)
        ]
    ).sort("count", descending=True, maintain_order=True)
    shown = labels[: params.labels]
    order = shown["label"].to_list()
    columns = [validation.names.index(label) for label in order]
    truth, predicted = validation.truth[:, columns], validation.predicted[:, columns]
    curves = by_label.curves(truth, validation.probabilities[:, columns], order)
    drawn = shown.filter(pl.col("label").is_in(curves["label"].implode()))
    pairs = by_label.confused(truth, predicted, order, MOST_PAIRS)
    reliability = pl.read_csv(RELIABILITY)
    content = {
        "labels": labels.to_dicts(),
        "shown": len(shown),
        "curve_labels": drawn["label"].to_list(),
        "pairs": pairs.to_dicts(),
        "calibration": figures["calibration"],
        "reliability": reliability.to_dicts(),
    }
    long = shown.select("label", Precision="precision", Recall="recall", F1="f1").unpivot(
        index="label", variable_name="metric"
    )
    mapped = slice(MOST_MAPPED)
    specs = {
        "labels": charts.of_labels(long),
        "reliability": charts.reliability(reliability),
        "confusion": charts.confusion(
            by_label.rates(truth[:, mapped], predicted[:, mapped], order[mapped]), order[mapped]
        ),
        **charts.curves(curves, drawn),
    }
    return content, specs


def of_training() -> tuple[dict[str, Any], dict[str, Spec]]:
    train = said("train")
    content = {"epochs": [], "best_metric": BEST[load()["train"]["metric"]]}
    files = {
        name: EPOCHS / f"{file}.tsv" for part in CURVES.values() for name, file in part.items()
    }
    found = {
        name: pl.read_csv(path, separator="\t").select("step", pl.col(path.stem).alias(name))
        for name, path in files.items()
        if path.exists()  # without DVCLive there are none
    }
    if not train["epochs"] or not found:
        return content, {}
    table = pl.concat(list(found.values()), how="align").select(
        (pl.col("step") + 1).alias("epoch"), pl.exclude("step")
    )
    content["epochs"] = table.to_dicts()
    specs = {}
    for chart, series in CURVES.items():
        long = table.unpivot(list(series), index="epoch", variable_name="series").drop_nulls()
        specs[chart] = charts.epochs(long, train["best_epoch"])
    return content, specs


def of_data() -> dict[str, Any]:
    rejected = pl.read_csv(REJECTED, infer_schema=False)
    reasons = (
        rejected.group_by("reason", maintain_order=True)
        .agg(rows=pl.len(), example=pl.coalesce("photo", "file").first())
        .sort("rows", descending=True, maintain_order=True)
    )
    shown = []
    order = [*PICTURES]
    for path in sorted(EDA.glob("*.png"), key=lambda path: _place(path.stem, order)):
        source, width, height = pictures.file(path)
        alt = PICTURES.get(path.stem, path.stem.replace("_", " "))
        shown.append({"source": source, "width": width, "height": height, "alt": alt})
    return {"eda": said("eda"), "rejected": reasons.to_dicts(), "pictures": shown}


def of_photos(found: Findings, validation: Validation) -> dict[str, Any]:
    return {
        "examples": list(examples.of_labels(found, validation)),
        "headings": HEADINGS,
        "heat": found.looks is not None,
        "marks": found.reading is not None,
        "features": _features(found, validation) if found.has_feature_maps else None,
    }


def of_quality(
    doubts: pl.DataFrame,
    judged: pl.Series,
    checked: pl.Series,
    photos: pl.DataFrame,
    store: ImageStore,
) -> dict[str, Any]:
    """What is probably wrong with labels and photos.

    Args:
        doubts: from ``label_quality.to_work_through``.
        judged: the photos whose labels might have been doubted.
        checked: those that people have checked, and that are not in ``doubts``.
        photos: columns of ``stages.ingest.records``.
    """
    parts = folds.read()
    same = photo_quality.duplicates(photos, parts)
    odd = photo_quality.odd_photos(photos, store)
    sizes = photos.select("id", "width", "height")
    first = same["group"].unique(maintain_order=True).head(MOST_GROUPS)
    of_groups = same.filter(pl.col("group").is_in(first.implode()))
    worst = odd.group_by("measure", maintain_order=True).head(MOST_ODD)
    return {
        "doubts": _sized(doubts.head(MOST_DOUBTS), sizes),
        "doubts_in_all": len(doubts),
        "groups": [
            _sized(group, sizes) for _, group in of_groups.group_by("group", maintain_order=True)
        ],
        "groups_in_all": same["group"].n_unique(),
        "odd": [
            (ODD[measure], odd.filter(pl.col("measure") == measure).height, _sized(part, sizes))
            for (measure,), part in worst.group_by("measure", maintain_order=True)
        ],
        "judged": len(judged),
        "not_judged": parts["id"].is_in(judged.implode()).not_().sum(),
        "checked": judged.is_in(checked.implode()).sum(),
        "separator": SEPARATOR,
    }


def images(content: dict[str, Any]) -> list[int]:
    """Where in the image store the photos are that the sections show."""
    shown = [each for of in content["examples"] for part in of.kinds.values() for each in part]
    tables = [content["doubts"], *content["groups"], *(part for *_, part in content["odd"])]
    if content["features"]:
        tables.append(content["features"]["rows"])
    return [each.image for each in shown] + [row["image"] for part in tables for row in part]


def _sized(photos: pl.DataFrame, sizes: pl.DataFrame) -> list[dict[str, Any]]:
    return photos.join(sizes, on="id", how="left", maintain_order="left").to_dicts()


def _features(found: Findings, validation: Validation) -> dict[str, Any]:
    stations = [
        f"{name}: {layer.name}, {layer.side} × {layer.side}"
        for name, layer in zip(("Early", "Middle", "Late"), found.looks.stations, strict=False)
    ]
    photos = validation.photos[found.looks.rows].select("id", "image", "width", "height")
    rows = [
        photo
        | {"maps": [list(map(pictures.feature_map, maps[place])) for maps in found.looks.maps]}
        for place, photo in enumerate(photos.to_dicts())
    ]
    return {"stations": stations, "rows": rows}


def _network(description: Description) -> str:
    parts = []
    if description.sees_images:
        parts.append(f"{description.backbone} for photos of {description.input_size} pixels")
    if description.reads_captions:
        encoder = description.text["encoder"]
        kind = encoder if description.has_transformer else encoder.upper()
        parts.append(f"a {kind} for captions")
    return " and ".join(parts)


def _place(name: str, order: list[str]) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order)), name
