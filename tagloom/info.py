"""``tagloom info``: what a bundle is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages import UserError
from tagloom import options

if TYPE_CHECKING:
    from stages.bundle.bundle import Bundle
    from stages.bundle.content import Metrics, OfLabel, Provenance


def info(
    bundle: options.Bundle = options.BUNDLE,
) -> None:
    """Say what a bundle is: labels, how good it is, where it comes from.

    Every file of it is checked against the hash that it was made with.

    [bold]Examples[/bold]
      tagloom info
      tagloom info --bundle ~/models/pets
    """
    from tagloom import bundles
    from tagloom.pages import page, table
    from tagloom.results import in_a_line

    known = bundles.read(bundle)
    if known.metrics is None or known.provenance is None:
        raise UserError(f"{known.folder} does not say how good it is; make it anew")
    measured = known.metrics.validation
    console = page()
    folder, count = in_a_line(str(known.folder)), len(known.labels)
    console.print(f"{folder}: a model of {INPUTS[known.inputs]}, with {count:,} labels\n")
    console.print(table(None, ["", ""], _about(known, known.metrics)))

    overall = [[name, *_interval(f.value, f.low, f.high)] for name, f in measured.overall.items()]
    title = f"How good it is on {measured.photos:,} validation photos"
    columns = ["metric", "value", "95 % interval"]
    console.print(table(title, columns, overall, figures=2))

    figures = ["threshold", "F1", "95 % interval", "precision", "recall", "AP", "photos"]
    rows = [
        [label, f"{threshold:.3f}", *_of_label(measured.labels[label])]
        for label, threshold in zip(known.labels, known.thresholds, strict=True)
    ]
    console.print(table("Labels", ["label", *figures], rows, figures=len(figures)))
    console.print(table("Where it comes from", ["", ""], _origin(known.provenance)))
    console.print("All files are as they were when it was made.")


INPUTS = {
    "image": "photos",
    "caption": "captions",
    "image+caption": "photos and, where there are any, captions",
}


def _about(known: "Bundle", metrics: "Metrics") -> Iterator[list[str]]:
    description = known.description
    if description.sees_images:
        seen, fit = description.input_size, description.fit
        yield ["photos", f"{description.backbone}, {seen} × {seen} pixels (ingest.fit: {fit})"]
    if description.reads_captions:
        yield ["captions", description.text["encoder"]]
    if alone := metrics.without_captions:
        yield ["without captions", f"micro-F1 {alone.micro_f1:.3f}"]
    size = sum((known.folder / name).stat().st_size for name in known.content.files)
    yield ["size", f"{size / 2**20:.1f} MB, weights in {metrics.weights.precision}"]
    yield ["runtimes", "PyTorch, ONNX Runtime (--onnx)" if known.has_onnx else "PyTorch"]
    yield ["temperature", f"{known.temperature:.3f}"]
    yield ["SHA-256", known.sha256]


def _interval(value: float | None, low: float | None, high: float | None) -> list[str]:
    return [_three(value), "–" if low is None or high is None else f"{low:.3f}–{high:.3f}"]


def _three(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.3f}"


def _of_label(measured: "OfLabel") -> list[str]:
    figures = (measured.precision, measured.recall, measured.average_precision)
    f1 = _interval(measured.f1, measured.low, measured.high)
    return [*f1, *map(_three, figures), f"{measured.count:,}"]


def _origin(provenance: "Provenance") -> Iterator[list[str]]:
    commit = provenance.commit or "made without Git"
    changed = ", with changes that were not committed" if provenance.changed_since_commit else ""
    yield ["commit", commit + changed]
    data = provenance.data
    yield ["data", f"{data.training:,} photos to learn from, {data.captions:,} with captions"]
    yield ["SHA-256 of the records", data.records_sha256]
    yield ["hardware", provenance.hardware]
    yield ["training", f"{provenance.training_seconds:,.0f} seconds"]
    yield ["packages", ", ".join(f"{name} {v}" for name, v in provenance.packages.items())]
