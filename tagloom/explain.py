"""``tagloom explain``: what in a photo speaks for its labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages import printable
from tagloom import options

if TYPE_CHECKING:
    import numpy as np

    from tagloom.drawing import Explained

MOST_PROBABLE = 3  # labels that are explained where none holds
HTML = (".html", ".htm")


def explain(
    photo: Annotated[
        Path,
        typer.Argument(
            metavar="PHOTO", help="A photo.", exists=True, dir_okay=False, show_default=False
        ),
    ],
    caption: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the photo's caption says.", show_default=False),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Explain this one; may be said several times. By default, those that hold.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        options.output_file(
            "The picture, a PNG, or a page, .html; by default PHOTO-explained.png, here.",
            "--output",
            "-o",
        ),
    ] = None,
    bundle: options.Bundle = options.BUNDLE,
    onnx: Annotated[bool, typer.Option("--onnx", hidden=True)] = False,
) -> None:
    """Show what in a photo, and in its caption, speaks for its labels.

    Draws a heat map for each label: warm is what raises its probability
    (Grad-CAM). Each word of the caption is left out once, to see how much
    the label depends on it.

    [bold]Examples[/bold]
      tagloom explain holiday.jpg
      tagloom explain holiday.jpg --caption "two dogs on a beach"
      tagloom explain holiday.jpg --label dog --label cat --output why.html
    """
    if onnx:
        raise typer.BadParameter(
            "heat maps need gradients, which ONNX Runtime has not; leave it away",
            param_hint="--onnx",
        )
    from stages import UserError
    from stages.bundle.model import load_model
    from stages.ingest.decoder_processes import Decoders
    from stages.ingest.form import Form
    from stages.ingest.images import UnreadablePhoto
    from stages.ingest.naming import named
    from tagloom import bundles, drawing, thresholds
    from tagloom.explanation import explain as explained
    from tagloom.messages import note
    from tagloom.photo_files import read_file

    known = bundles.read(bundle)
    description, names = known.description, known.labels
    wanted = []
    for name in label or []:
        if (meant := named(name, names)) is None:
            raise typer.BadParameter(thresholds.unknown(name, names), param_hint="--label")
        wanted.append(meant)
    if caption and not description.reads_captions:
        note("the model does not read captions, so --caption changes nothing")
    if not (caption or description.sees_images):
        raise typer.BadParameter("the model reads captions alone", param_hint="--caption")
    try:
        content = read_file(photo)
        with Decoders(1) as decoders:
            pixels = decoders.decode(content, known.form).pixels
            # All of it, whatever the model sees.
            large = decoders.decode(content, Form(drawing.SIDE, known.form.depth))
    except UnreadablePhoto as error:
        raise UserError(f"{photo}: {error}") from error

    model = load_model(bundle)
    answers = model.probabilities(pixels[None] if description.sees_images else None, [caption])
    [probabilities], [holds] = answers, model.decide(answers)
    chosen = _choose(wanted, names, probabilities, holds)
    explanation = explained(known, pixels, caption, chosen)

    shown = drawing.upright(large.pixels, large.width, large.height)
    seen = description.seen(large.width, large.height)
    warm = [None if h is None else drawing.warmed(shown, h, seen) for h in explanation.heat]
    parts = [
        drawing.Explained(names[n], float(probabilities[n]), bool(holds[n]), picture, words)
        for n, picture, words in zip(chosen, warm, explanation.words, strict=True)
    ]
    output = output or Path(f"{photo.stem}-explained.png")
    write = drawing.write_page if output.suffix.lower() in HTML else drawing.write_picture
    write(output, photo.name, shown, caption, parts)
    for n, part in zip(chosen, parts, strict=True):
        _print(part, known.thresholds[n])
    if description.sees_images and any(each is None for each in warm):
        note(f"{description.backbone} keeps no maps of the photo, so there are no heat maps")
    print(f"{output} shows what speaks for {'it' if len(parts) == 1 else 'them'}")


def _choose(
    wanted: list[str], names: list[str], probabilities: "np.ndarray", holds: "np.ndarray"
) -> list[int]:
    """The places of the labels to explain."""
    if wanted:
        return [names.index(name) for name in dict.fromkeys(wanted)]
    order = (-probabilities).argsort(kind="stable").tolist()
    if chosen := [n for n in order if holds[n]]:
        return chosen
    print("No label holds; these are the most probable.")
    return order[:MOST_PROBABLE]


def _print(part: "Explained", threshold: float) -> None:
    verdict = "holds" if part.holds else "does not hold"
    print(f"{printable(part.label)}: {part.probability:.2f}, {verdict} (from {threshold:.2f})")
    if part.strongest:
        print(f"  words, by how much each raises the logit: {printable(part.strongest)}")
