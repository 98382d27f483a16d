"""``tagloom export``: a bundle's model for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from stages import printable
from tagloom import options


def export(
    onnx: Annotated[Path | None, options.output_file("Write an ONNX graph.")] = None,
    torch_export: Annotated[
        Path | None, options.output_file("Write what torch.export.load reads.")
    ] = None,
    bundle: options.Bundle = options.BUNDLE,
) -> None:
    """Write a bundle's model as one file for other programs.

    It takes photos as bytes and words as numbers and gives calibrated
    probabilities. Labels, thresholds and what makes numbers of words are in
    the bundle.

    [bold]Examples[/bold]
      tagloom export --onnx model.onnx
      tagloom export --torch-export model.pt2 --bundle old/bundle
    """
    if onnx is None and torch_export is None:
        raise typer.BadParameter("say what to write", param_hint="--onnx or --torch-export")
    from stages.bundle import export as exports
    from stages.bundle.model import load_model
    from tagloom import bundles

    known = bundles.read(bundle)
    if known.has_onnx:
        load_model(bundle, "onnx")  # a graph that is not of these weights is refused
    inputs = []
    if known.description.sees_images:
        inputs.append(f"photos, uint8 (n, {known.stored_size}, {known.stored_size}, 3), RGB")
    if known.description.reads_captions:
        inputs.append("words, int64 (n, words)")
    wanted = (onnx, exports.to_onnx), (torch_export, exports.to_torch_export)
    for file, write in wanted:
        if file is not None:
            write(known, file)
            size = file.stat().st_size / 2**20
            print(
                f"{printable(str(file))}, {size:.1f} MB: {'; '.join(inputs)} → "
                f"probabilities, float32 (n, {len(known.labels)})"
            )
