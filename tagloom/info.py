"""``tagloom info``: what a bundle is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tagloom import options


def info(
    bundle: Annotated[
        Path,
        typer.Argument(metavar="BUNDLE", help="Its folder.", envvar="TAGLOOM_BUNDLE"),
    ] = options.BUNDLE,
) -> None:
    """Say what a bundle is: labels, how good it is, where it comes from.

    Every file of it is checked against the hash that it was made with.

    [bold]Examples[/bold]
      tagloom info
      tagloom info ~/models/pets
    """
    from tagloom import bundles
    from tagloom.pages import page, table

    known = bundles.read(bundle)
    console = page()
    console.print(f"{known.folder}: a model of {INPUTS[known.inputs]} with {_many(known.labels)}\n")
    console.print(table(None, ["", ""], _about(known)))
    by_label, figures = _parted(known.metrics, known.labels)
    if figures:
        console.print(table("How good it is", ["", ""], figures))
    columns = {"threshold": dict(zip(known.labels, known.thresholds, strict=True)), **by_label}
    rows = [
        [name, *(_figure(each.get(name)) for each in columns.values())] for name in known.labels
    ]
    console.print(table("Labels", ["label", *columns], rows, figures=len(columns)))
    if known.provenance:
        flat = ([name, str(value)] for name, value in _flat(known.provenance))
        console.print(table("Where it comes from", ["", ""], flat))
    files = [
        [name, f"{(known.folder / name).stat().st_size:,}", sha256]
        for name, sha256 in known.content.files.items()
    ]
    console.print(table("Files, as they were made", ["file", "bytes", "SHA-256"], files))


INPUTS = {
    "image": "photos",
    "caption": "captions",
    "image+caption": "photos and, where there are any, captions",
}


def _about(known: Any) -> Iterator[list[str]]:
    description = known.description
    if description.sees_images:
        seen = description.image_size
        yield ["photos", f"{description.backbone}, {seen} × {seen} pixels"]
    if description.reads_captions:
        yield ["captions", description.text["encoder"]]
    size = sum((known.folder / name).stat().st_size for name in known.content.files)
    yield ["size", f"{size / 2**20:.1f} MB, weights in {known.content.precision}"]
    yield ["runtimes", "torch, ONNX Runtime (--onnx)" if known.has_onnx else "torch"]
    yield ["temperature", f"{known.temperature:.3f}, by which logits are divided"]
    yield ["SHA-256", f"{known.sha256} of bundle.json, which has those of all files"]


def _parted(
    metrics: Mapping[str, Any], labels: list[str]
) -> tuple[dict[str, Mapping[str, Any]], list[list[str]]]:
    """The figures of each label, by their names, and all others as rows."""
    by_label: dict[str, Mapping[str, Any]] = {}
    rows: list[list[str]] = []

    def look(name: str, value: Any) -> None:
        if not isinstance(value, Mapping) or "value" in value:
            rows.append([name, _figure(value)])
        elif set(value) == set(labels):
            first = next(iter(value.values()))
            if isinstance(first, Mapping) and "value" not in first:
                for each in first:
                    by_label[each] = {label: value[label].get(each) for label in labels}
            else:
                by_label[name.rpartition(".")[2]] = value
        else:
            for key, each in value.items():
                look(f"{name}.{key}" if name else key, each)

    look("", metrics)
    return by_label, rows


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _figure(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['value']:.3f} ({value['low']:.3f}–{value['high']:.3f})"
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else str(value)


def _many(labels: list[str]) -> str:
    return "one label" if len(labels) == 1 else f"{len(labels):,} labels"
