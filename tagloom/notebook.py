"""A bundle in a notebook, or in a program of one's own: what ``tagloom.load`` returns."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from stages import UserError
from stages.bundle.model import load_model
from stages.ingest.naming import named
from tagloom import drawing, inputs, thresholds
from tagloom.answering import answered
from tagloom.explained_photo import explain_photo

if TYPE_CHECKING:
    import polars as pl


class LoadedModel:
    """A trained model. Not safe for several threads at once.

    Attributes:
        labels: their names, in the order of the columns of probabilities.
    """

    def __init__(self, folder: Path, runtime: Literal["torch", "onnx"]) -> None:
        self._model = load_model(folder, runtime)
        self.labels = list(self._model.bundle.labels)

    def __repr__(self) -> str:
        bundle = self._model.bundle
        return f"<{bundle.folder}: {len(self.labels)} labels of {bundle.inputs}>"

    def predict(
        self,
        photos: Iterable[str | Path],
        captions: Iterable[str | None] | None = None,
        batch_size: int = 64,
    ) -> "pl.DataFrame":
        """Labels and probabilities of photos, a row each, in their order.

        Args:
            captions: one for each photo, None where it has none.
            batch_size: photos that are in memory, and that the network sees, at a time.

        Returns:
            The columns ``photo`` (its path), ``labels`` (the names of those that hold, by the
            bundle's thresholds), ``error`` (why a photo could not be read; what else its row says
            is null) and, for each label, ``probability of LABEL`` (Float32, calibrated).

        Raises:
            ValueError: there are not as many captions as photos.
        """
        import polars as pl

        paths = list(map(Path, photos))
        texts = [None] * len(paths) if captions is None else list(captions)
        sees = self._model.bundle.description.sees_images
        # Called by their places: a photo may be there twice.
        listed = [
            inputs.Asked(str(place), path, caption)
            for place, (path, caption) in enumerate(zip(paths, texts, strict=True))
        ]
        asked = inputs.captioned(listed, None, needed=not sees)
        unreadable: list[inputs.Unreadable] = []
        cells: dict[int, list[object]] = {}
        for batch in answered(self._model, asked, batch_size, unreadable):
            decided = self._model.decide(batch.probabilities)
            for place, row, holds in zip(
                batch.names, batch.probabilities.tolist(), decided, strict=True
            ):
                held = [label for label, does in zip(self.labels, holds, strict=True) if does]
                cells[int(place)] = [held, None, *row]
        for name, reason in unreadable:
            cells[int(name)] = [None, reason, *(None for _ in self.labels)]
        schema = {"photo": pl.String(), "labels": pl.List(pl.String), "error": pl.String()}
        schema |= {f"probability of {label}": pl.Float32() for label in self.labels}
        rows = [[inputs.shown(path), *cells[place]] for place, path in enumerate(paths)]
        return pl.DataFrame(rows, schema, orient="row")

    def explain(
        self, photo: str | Path, caption: str | None = None, labels: Sequence[str] = ()
    ) -> Image.Image:
        """A picture of what in a photo, and in its caption, speaks for labels.

        Args:
            labels: names; none: those that hold, or else the most probable.

        Raises:
            UserError: the photo cannot be read, or the model has no such label.
        """
        wanted = []
        for label in labels:
            if (meant := named(label, self.labels)) is None:
                raise UserError(thresholds.unknown(label, self.labels))
            wanted.append(meant)
        pixels, parts = explain_photo(self._model, Path(photo), caption, wanted)
        content = io.BytesIO()
        drawing.draw(Path(photo).name, pixels, caption, parts).savefig(content, format="png")
        return Image.open(content)
