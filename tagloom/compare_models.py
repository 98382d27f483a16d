"""``tagloom compare``: two models on the same photos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagloom import options

if TYPE_CHECKING:
    from stages.intervals import Figure
    from tagloom.comparison import Comparison


def compare(
    other: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE",
            help="The bundle of the other model, A; that of --bundle is B.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ],
    photos: options.Photos,
    captions: options.CaptionsFile = None,
    differences: Annotated[
        int, typer.Option(min=0, max=1000, metavar="N", help="How many to show.")
    ] = 10,
    onnx: options.Onnx = False,
    below: options.PhotosBelow = None,
    strict: options.Strict = False,
    batch_size: options.BatchSize = 64,
    bundle: options.Bundle = options.BUNDLE,
) -> None:
    """Compare what two models say of the same photos.

    Shows how often they agree, how many photos each gives which label, and
    where they differ most. If a CSV has a column [bold]labels[/bold], it says as well
    which of the two is better, and whether that may be chance. Labels in a column
    [bold]unknown[/bold] are those of which nobody knows whether the photo has them.

    [bold]Examples[/bold]
      tagloom compare old/bundle photos
      tagloom compare old/bundle labelled.csv --photos data
    """
    from stages.bundle.model import load_model
    from tagloom import bundles, inputs
    from tagloom.comparison import Comparison
    from tagloom.messages import list_unreadable, memory_for, note
    from tagloom.prefetch import batches, with_progress

    folders = other, bundle
    known = [bundles.read(folder) for folder in folders]
    seeing = [each for each in known if each.description.sees_images]
    beside = inputs.Captions(captions) if captions else None
    total = inputs.count(photos, below)
    asked = inputs.captioned(inputs.asked(photos, below), beside, needed=len(seeing) < len(known))
    forms = {each.form for each in seeing}
    names = {label for each in known for label in each.labels}
    unreadable: list[inputs.Unreadable] = []
    loaded = [load_model(folder, "onnx" if onnx else "torch") for folder in folders]
    comparison = Comparison(known[0].labels, known[1].labels, differences)
    with memory_for(batch_size, onnx):
        read = batches(asked, forms, batch_size, unreadable)
        for batch in with_progress(read, "compare", total, quiet=False):
            answers = [
                model.probabilities(batch.pixels.get(model.bundle.form), batch.captions)
                for model in loaded
            ]
            comparison.add(
                [each.name for each in batch.asked],
                [inputs.label_list(each.labels, names) for each in batch.asked],
                [inputs.label_list(each.unknown, names) for each in batch.asked],
                [(p, model.decide(p)) for model, p in zip(loaded, answers, strict=True)],
            )
    _show(comparison)
    if beside and not beside.used:
        note(f"no photo is in {captions}")
    list_unreadable(unreadable, total, strict)


def _show(comparison: "Comparison") -> None:
    from tagloom.pages import page, table
    from tagloom.results import in_a_line

    console = page()
    if not comparison.photos:
        return
    share = comparison.alike / comparison.photos
    console.print(
        f"Of {comparison.photos:,} photos, {share:.1%} get the same of the "
        f"{len(comparison.shared)} labels that both models know.\n"
    )
    counts = zip(
        comparison.shared, *comparison.counts.tolist(), comparison.both.tolist(), strict=True
    )
    rows = [[label, *(f"{count:,}" for count in each)] for label, *each in counts]
    for name, unshared in zip("AB", comparison.unshared, strict=True):
        for label, count in unshared.items():
            columns = [f"{count:,}", ""] if name == "A" else ["", f"{count:,}"]
            rows.append([f"{label} (only {name} knows it)", *columns, ""])
    console.print(table("Photos that get a label", ["label", "A", "B", "both"], rows, figures=3))
    if comparison.differences:
        rows = [
            [each.photo, each.label, f"{each.one:.2f}", f"{each.other:.2f}"]
            for each in comparison.differences
        ]
        columns = ["photo", "label", "A", "B"]
        console.print(table("Largest differences of probability", columns, rows, figures=2))
    if quality := comparison.quality():
        gain = quality.gain
        console.print(
            f"Micro-F1 on {quality.photos:,} photos whose labels are known: A {quality.one:.4f}, "
            f"B {quality.other:.4f}; B − A {gain['value']:+.4f}, {_certainty(gain)}."
        )
        if quality.unshared:
            left_out = in_a_line(", ".join(quality.unshared))
            console.print(f"Left out are labels that not both know: {left_out}")


def _certainty(gain: "Figure") -> str:
    low, high = gain["low"], gain["high"]
    if low is None or high is None:
        return f"which says nothing: {gain['reason']}"
    more = "it may be" if low <= 0 <= high else "more than"
    return f"with 95 % confidence between {low:+.4f} and {high:+.4f}: {more} chance"
