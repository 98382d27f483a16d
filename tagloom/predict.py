"""``tagloom predict``: labels for photos."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tagloom import options


def predict(
    photos: options.Photos,
    captions: options.CaptionsFile = None,
    form: Annotated[
        options.Format | None,
        typer.Option(
            "--format",
            help="The table is for people, the others for programs; by default what --output ends "
            "in, else the table.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, options.output_file("Write there, all or nothing.", "--output", "-o")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Show the K most probable labels.", show_default=False
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBER|LABEL=NUMBER,...",
            help="How probable a label must be to hold, instead of what the bundle says.",
            show_default=False,
        ),
    ] = None,
    bundle: options.Bundle = options.BUNDLE,
    onnx: options.Onnx = False,
    below: options.PhotosBelow = None,
    strict: options.Strict = False,
    batch_size: options.BatchSize = 64,
) -> None:
    """Say which labels photos carry.

    Any number of photos: they are read while the model computes, and results
    come in the order of the photos, as soon as they are there. Photos that
    cannot be read are listed at the end. A model of photos and captions does
    without captions where there are none.

    [bold]Examples[/bold]
      tagloom predict holiday.jpg --top 5
      tagloom predict photos --output labels.csv
      tagloom predict photos --captions captions.csv --format json | jq .
      tagloom predict test.csv --photos data --threshold 0.3,dog=0.2
    """
    from stages.bundle.model import load_model
    from stages.network.allocation import keep_freed_memory
    from tagloom import bundles, inputs, results, thresholds
    from tagloom.answering import answered
    from tagloom.messages import list_unreadable, memory_for, note
    from tagloom.prefetch import with_progress

    keep_freed_memory()
    known = bundles.read(bundle)
    sees, reads = known.description.sees_images, known.description.reads_captions
    least = thresholds.overridden(known.thresholds, known.labels, threshold or [])
    suffix = output.suffix.lower() if output else ""
    kind: options.Format = form or options.FORMATS.get(suffix, "table")
    if kind == "parquet" and output is None:
        raise typer.BadParameter("parquet is no text; add --output FILE", param_hint="--format")
    if kind == "parquet" and top is not None:
        raise typer.BadParameter("a Parquet file holds all probabilities", param_hint="--top")
    beside = inputs.Captions(captions) if captions else None
    if beside and not reads:
        note(f"the model does not read captions, so {captions} changes nothing")

    total = inputs.count(photos, below)
    model = load_model(bundle, "onnx" if onnx else "torch")
    asked = inputs.captioned(inputs.asked(photos, below), beside, needed=not sees)
    unreadable: list[inputs.Unreadable] = []
    answers = answered(model, asked, batch_size, unreadable)
    # A bar and a table on the same terminal would write over each other.
    quiet = output is None and sys.stdout.isatty()
    with (
        results.writer(kind, output, sys.stdout, known.labels, top) as writer,
        memory_for(batch_size, onnx),
    ):
        for batch in with_progress(answers, "predict", total, quiet):
            holds = batch.probabilities.astype(float) >= least
            writer.write(results.Answers(batch.names, batch.probabilities, holds))
    if beside and reads and not beside.used:
        note(f"no photo is in {captions}")
    list_unreadable(unreadable, total, strict)
