"""What each section of the page shows: names that its template asks for, with their values."""

from pathlib import Path
from typing import Any

import polars as pl

from stages.bundle.bundle import Bundle
from stages.bundle.card import FEW
from stages.ingest.images import ImageStore
from stages.ingest.naming import SEPARATOR
from stages.network.description import Description
from stages.params import load
from stages.report import by_label, charts, paired, photo_quality, pictures, revision, summary
from stages.report.card import read_card
from stages.report.charts import Spec
from stages.report.examples import examples_by_label
from stages.report.explanations import Explanations, PhotoExplanations
from stages.report.label_errors import LEAST_PHOTOS
from stages.report.label_quality import Doubts, expected
from stages.report.labels_next import photos_to_label
from stages.report.params import Report
from stages.report.summary import figures_of
from stages.report.validation import Validation
from stages.split import folds

EPOCHS = Path("metrics/train/plots/metrics")
RELIABILITY = Path("metrics/threshold/reliability.csv")
REJECTED = Path("data/rejected.csv")
EDA = Path("data/eda")

MOST_PAIRS = 15  # of labels, in a table …
MOST_MAPPED = 40  # … and labels in the heat map, whose cells are the square of that
MOST_DOUBTS = 50  # photos
MOST_GROUPS = 12  # of photos that are the same
MOST_ODD = 6  # photos of a kind
ALONE = ("without_model", "captions_alone")  # what a metric stands beside
PHOTOS = "photos_with_known_labels"

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


def page_content(
    bundle: Bundle,
    params: Report,
    validation: Validation,
    doubts: Doubts,
    explanations: Explanations,
    photos: pl.DataFrame,
    store: ImageStore,
) -> dict[str, Any]:
    """All that ``templates/page.html`` and the templates that it includes ask for.

    Args:
        bundle: the network and how it decides.
        photos: columns of ``stages.ingest.records``.
        store: with their photos.
    """
    summary_content, summary_charts = of_summary(bundle.description, params, validation)
    label_content, label_charts = of_labels(validation, params)
    training_content, training_charts = of_training()
    content = summary_content | label_content | training_content | of_data()
    content |= of_photos(explanations, validation)
    content |= of_quality(doubts, photos, store) | photos_to_label(bundle, photos, store)
    return content | {
        "sections": SECTIONS,
        "charts": summary_charts | label_charts | training_charts,
        "card": read_card(),
        "thumbnails": pictures.thumbnails(images_of(content), store, bundle.description),
    }


def of_summary(
    description: Description, params: Report, validation: Validation
) -> tuple[dict[str, Any], dict[str, Spec]]:
    """What the page begins with, and what several sections ask for."""
    on, train = summary.measured(), load()["train"]
    measured = on.figures()
    figures, labels = measured[on.key], measured["labels"]
    kind, name = summary.run_name()
    other = summary.against(params.against, on)
    committed, split = revision.find("HEAD"), figures_of("split")
    rows = summary.headline(figures, other, paired.gains(on, figures, other, validation))
    content = {
        "kind": kind,
        "name": name,
        "description": description,
        "network": _network(description),
        "names": description.labels,
        "headline": [
            row | {key: measured.get(key, {}).get(metric) for key in ALONE}
            for metric, row in zip(summary.METRICS, rows.to_dicts(), strict=True)
        ],
        "is_holdout": on.is_holdout,
        "measured_photos": measured[PHOTOS] if on.is_holdout else split["photos"]["validation"],
        "has_captions_alone": "captions_alone" in measured,
        "never_given": measured["never_given"],
        "too_few": [label for label, each in labels.items() if each["count"] < FEW],
        "few": FEW,
        "precision": figures["micro_precision"],
        "recall": figures["micro_recall"],
        "exact": figures["subset_accuracy"],
        "without_model": measured["without_model"],
        "other": other,
        "wanted": params.against,
        "committed": committed,
        "settings": summary.settings(committed, other),
        "max_mb": train["max_mb"],
        "max_hours": train["max_hours"],
        "ingest": figures_of("ingest"),
        "split": split,
        "train": figures_of("train"),
        "bundle": figures_of("bundle"),
    }
    runs = {"this model": ("value", "low", "high")}
    if other and other.metrics:
        runs[other.revision.name] = ("other", "other_low", "other_high")
    tables = [
        rows.select("metric", pl.lit(run).alias("run"), *map(pl.col, columns)).rename(
            dict(zip(columns, ("value", "low", "high"), strict=True))
        )
        for run, columns in runs.items()
    ]
    return content, {"headline": charts.headline(pl.concat(tables))}


def of_labels(validation: Validation, params: Report) -> tuple[dict[str, Any], dict[str, Spec]]:
    """How good each label is, which threshold and which other labels go with it."""
    figures, threshold = summary.measured().figures()["labels"], figures_of("threshold")
    labels = pl.DataFrame(
        [
            {"label": label, "threshold": at} | figures[label]
            for label, at in zip(validation.names, validation.thresholds, strict=True)
        ],
        infer_schema_length=None,  # the first labels may have no figure
    ).sort("count", descending=True, maintain_order=True)
    shown = labels[: params.labels]
    order = shown["label"].to_list()
    columns = [validation.names.index(label) for label in order]
    truth, predicted, known, probabilities = (
        each[:, columns]
        for each in (
            validation.truth, validation.predicted, validation.known, validation.probabilities
        )
    )  # fmt: skip
    curves = by_label.curves(truth, probabilities, known, order)
    drawn = shown.filter(pl.col("label").is_in(curves["label"].implode()))
    pairs = by_label.confused(truth, predicted, known, order, MOST_PAIRS)
    reliability = pl.read_csv(RELIABILITY)
    content = {
        "labels": labels.to_dicts(),
        "all_known": bool(validation.known.all()),
        "shown": len(shown),
        "curve_labels": drawn["label"].to_list(),
        "pairs": pairs.to_dicts(),
        "calibration": threshold["calibration"],
        "temperature_bound": threshold.get("temperature_bound"),
        "reliability": reliability.to_dicts(),
    }
    long = shown.select("label", Precision="precision", Recall="recall", F1="f1").unpivot(
        index="label", variable_name="metric"
    )
    mapped = slice(MOST_MAPPED)
    rates = by_label.rates(truth[:, mapped], predicted[:, mapped], known[:, mapped], order[mapped])
    specs = {
        "labels": charts.of_labels(long),
        "reliability": charts.reliability(reliability),
        **charts.curves(curves, drawn),
    }
    if len(pairs):
        specs["confusion"] = charts.confusion(rates, order[mapped])
    return content, specs


def of_training() -> tuple[dict[str, Any], dict[str, Spec]]:
    """Figures by epoch; no row of them where the network was not trained, or none were kept."""
    train = figures_of("train")
    best_metric = BEST[load()["train"]["metric"]]
    files = {
        name: EPOCHS / f"{file}.tsv" for part in CURVES.values() for name, file in part.items()
    }
    columns = [
        pl.read_csv(path, separator="\t").select("step", pl.col(path.stem).alias(name))
        for name, path in files.items()
        if path.exists()  # without DVCLive there are none
    ]
    if not train["epochs"] or not columns:
        return {"epochs": [], "best_metric": best_metric}, {}
    table = pl.concat(columns, how="align").select(
        (pl.col("step") + 1).alias("epoch"), pl.exclude("step")
    )
    specs = {}
    for chart, series in CURVES.items():
        long = table.unpivot(list(series), index="epoch", variable_name="series").drop_nulls()
        specs[chart] = charts.epochs(long, train["best_epoch"])
    return {"epochs": table.to_dicts(), "best_metric": best_metric}, specs


def of_data() -> dict[str, Any]:
    """Rows that were set aside, by reason, and EDA's figures and pictures."""
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
    return {"eda": figures_of("eda"), "rejected": reasons.to_dicts(), "pictures": shown}


def of_photos(explanations: Explanations, validation: Validation) -> dict[str, Any]:
    """The examples of each label, and feature maps."""
    return {
        "examples": list(examples_by_label(explanations, validation)),
        "headings": HEADINGS,
        "has_heat_maps": explanations.photos is not None,
        "has_marked_words": explanations.words is not None,
        "feature_maps": _feature_maps(explanations.photos, validation),
    }


def of_quality(doubts: Doubts, photos: pl.DataFrame, store: ImageStore) -> dict[str, Any]:
    """What is probably wrong with labels and photos.

    Args:
        photos: columns of ``stages.ingest.records``.
        store: with their photos.
    """
    parts = folds.read()
    same = photo_quality.duplicates(photos, parts)
    odd = photo_quality.odd_photos(photos, store)
    sizes = photos.select("id", "width", "height")
    first = same["group"].unique(maintain_order=True).head(MOST_GROUPS)
    of_groups = same.filter(pl.col("group").is_in(first.implode()))
    worst = odd.group_by("measure", maintain_order=True).head(MOST_ODD)
    listed = doubts.photos.head(MOST_DOUBTS)
    return {
        "doubts": [row | {"chips": _chips(row)} for row in _sized(listed, sizes)],
        "doubts_in_all": len(doubts.photos),
        "expected_share": expected(listed)._asdict() if len(listed) else None,
        "left_out": doubts.left_out,
        "least_photos": LEAST_PHOTOS,
        "separator": SEPARATOR,
        "groups": [
            _sized(group, sizes) for _, group in of_groups.group_by("group", maintain_order=True)
        ],
        "groups_in_all": same["group"].n_unique(),
        "odd": [
            (ODD[measure], odd.filter(pl.col("measure") == measure).height, _sized(part, sizes))
            for (measure,), part in worst.group_by("measure", maintain_order=True)
        ],
        "judged": len(doubts.judged),
        "not_judged": parts.filter(pl.col("part") != folds.HOLDOUT)["id"]
        .is_in(doubts.judged.implode())
        .not_()
        .sum(),
        "checked": doubts.judged.is_in(doubts.checked.implode()).sum(),
    }


def images_of(content: dict[str, Any]) -> list[int]:
    """The rows in the image store of all photos that the sections show; some are there twice."""
    examples = [
        example
        for label in content["examples"]
        for kind in label.kinds.values()
        for example in kind
    ]
    tables = [content["doubts"], content["label_next"], *content["groups"]]
    tables += [rows for *_, rows in content["odd"]]
    if content["feature_maps"]:
        tables.append(content["feature_maps"]["rows"])
    return [each.image for each in examples] + [row["image"] for rows in tables for row in rows]


def _sized(photos: pl.DataFrame, sizes: pl.DataFrame) -> list[dict[str, Any]]:
    return photos.join(sizes, on="id", how="left", maintain_order="left").to_dicts()


def _chips(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The labels that a photo in doubt is given, and those that are suggested beside them."""
    given, suggested = (
        [name for name in row[column].split(SEPARATOR) if name]
        for column in ("labels", "suggested")
    )
    in_order = dict.fromkeys([*given, *suggested])
    doubted = set(given) ^ set(suggested)
    return [
        {"label": name, "given": name in given, "doubted": name in doubted} for name in in_order
    ]


def _feature_maps(
    explanations: PhotoExplanations | None, validation: Validation
) -> dict[str, Any] | None:
    """A column a layer, a row a photo; None where there is no photo."""
    if explanations is None or len(explanations.feature_rows) == 0:
        return None
    columns = [
        f"{name}: {layer.name}, {layer.side} × {layer.side}"
        for name, layer in zip(("Early", "Middle", "Late"), explanations.layers, strict=False)
    ]
    photos = validation.photos[explanations.feature_rows].select("id", "image", "width", "height")
    rows = [
        photo | {"maps": [list(map(pictures.feature_map, maps)) for maps in maps_of_layers]}
        for photo, *maps_of_layers in zip(
            photos.to_dicts(), *explanations.feature_maps, strict=True
        )
    ]
    return {"columns": columns, "rows": rows}


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
    """What sorts names as they are in ``order``, and all others behind them by themselves."""
    return (order.index(name) if name in order else len(order)), name
