"""``tagloom next``: which photos to label next."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stages import for_people, printable
from tagloom import options

if TYPE_CHECKING:
    import numpy as np

    from tagloom.candidates import Candidate
    from tagloom.inputs import Unreadable

COLUMNS = ("rank", "id", "photo", "why")
SHOWN = 3  # labels that a photo's row names


def next_(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PHOTO|FOLDER|CSV...]",
            help="Photos without labels; by default those of the project in the current folder "
            "whose labels [b]ingest[/b] does not know.",
            callback=lambda paths: options.with_those_of_stdin(paths or []),
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, metavar="N", help="How many to name.")
    ] = 250,
    by: Annotated[
        Literal["doubt", "random"],
        typer.Option(help="Those that teach most, or any, to compare with."),
    ] = "doubt",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of [b]--by random[/b].")] = 7,
    output: Annotated[
        Path, options.output_file("A CSV of the photos, the first first.", "--output", "-o")
    ] = Path("next.csv"),
    label_studio: Annotated[
        Path | None,
        options.output_file("Also tasks with predictions for Label Studio.", "--label-studio"),
    ] = None,
    cvat: Annotated[
        Path | None,
        options.output_file("Also a zip of the photos with predicted tags for CVAT.", "--cvat"),
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            metavar="PREFIX", help="What comes before a photo's path for Label Studio to find it."
        ),
    ] = "/data/local-files/?d=",
    below: Annotated[
        Path | None,
        typer.Option(
            "--photos",
            metavar="FOLDER",
            help="Where the names in a CSV, and those that [b]ingest[/b] has, start.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    bundle: options.Bundle = options.BUNDLE,
    batch_size: options.BatchSize = 64,
) -> None:
    """Say which photos to label next: those that would teach the model most.

    It is unsure of their labels, of rare ones above all, and few of them are
    alike. The CSV says why: the labels, each with its probability. Label Studio
    and CVAT take the photos with what the model says of them; ingest reads what
    people make of it.

    [bold]Examples[/bold]
      tagloom next inbox -n 100
      tagloom next --photos data/raw/photos --label-studio tasks.json
      tagloom next inbox --cvat tasks.zip
    """
    import numpy as np

    from stages.bundle.model import load_model
    from stages.bundle.selection import doubts, most_telling
    from stages.files import write_csv
    from tagloom import bundles, candidates, labelling
    from tagloom.messages import list_unreadable, memory_for

    known = bundles.read(bundle)
    model = load_model(bundle)
    unreadable: list[Unreadable] = []
    with memory_for(batch_size, onnx=False):
        if photos:
            parts = [*candidates.of_files(model, photos, below, batch_size, unreadable)]
        else:
            parts = [*candidates.of_ingest(model, below or Path(), batch_size)]
    found = [photo for part in parts for photo in part.photos]
    list_unreadable(unreadable, len(found) + len(unreadable), strict=False)
    probabilities = np.concatenate([part.probabilities for part in parts])
    doubt = doubts(probabilities, known.thresholds)
    if by == "random":
        rows = np.random.default_rng(seed).permutation(len(found))[:count]
    else:
        features = np.concatenate([part.features for part in parts])
        rows = most_telling(doubt.sum(axis=1), features, count)

    chosen, probabilities = [found[row] for row in rows], probabilities[rows]
    lines = zip(chosen, doubt[rows], probabilities, strict=True)
    write_csv(output, COLUMNS, (_line(*line, known.labels) for line in enumerate(lines, 1)))
    print(printable(f"{output}: {len(rows):,} of {len(found):,} photos, the first first"))
    predicted = labelling.predicted(chosen, probabilities, model)
    if label_studio:
        version = f"tagloom {known.sha256[:8]}"
        labelling.write_tasks(label_studio, predicted, address, version)
        print(printable(f"{label_studio}: tasks for a project of this labelling configuration:"))
        print(printable(labelling.configuration(known.labels)))
    if cvat:
        labelling.write_zip(cvat, predicted, known.labels)
        print(printable(f"{cvat}: a data set for a project of these labels:"))
        print(printable(labelling.constructor(known.labels)))


def _line(
    rank: int, photo: tuple["Candidate", "np.ndarray", "np.ndarray"], labels: list[str]
) -> list[object]:
    """A row of ``COLUMNS``, of a photo with its labels' doubts and probabilities."""
    (id, path), doubt, probabilities = photo
    most = doubt.argsort()[::-1][:SHOWN]
    why = "|".join(f"{labels[place]} {probabilities[place]:.2f}" for place in most)
    return [rank, id, path, for_people(why)]
