"""``tagloom explain``: what in a photo speaks for its labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages import printable
from tagloom import options

if TYPE_CHECKING:
    from tagloom.drawing import Explained

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
    from stages.bundle.model import load_model
    from stages.ingest.naming import named
    from tagloom import bundles, drawing, thresholds
    from tagloom.explained_photo import explain_photo
    from tagloom.messages import note

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
    shown, parts = explain_photo(load_model(bundle), photo, caption, wanted)

    output = output or Path(f"{photo.stem}-explained.png")
    write = drawing.write_page if output.suffix.lower() in HTML else drawing.write_picture
    write(output, photo.name, shown, caption, parts)
    if not (wanted or any(part.holds for part in parts)):
        print("No label holds; these are the most probable.")
    for part in parts:
        _print(part, known.thresholds[names.index(part.label)])
    if description.sees_images and any(part.picture is None for part in parts):
        note(f"{description.backbone} keeps no maps of the photo, so there are no heat maps")
    print(f"{printable(str(output))} shows what speaks for {'it' if len(parts) == 1 else 'them'}")


def _print(part: "Explained", threshold: float) -> None:
    verdict = "holds" if part.holds else "does not hold"
    print(f"{printable(part.label)}: {part.probability:.2f}, {verdict} (from {threshold:.2f})")
    if part.strongest:
        print(f"  words, by how much each raises the logit: {printable(part.strongest)}")
