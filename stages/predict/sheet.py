"""The first test photos as a picture, each with what was predicted for it."""

from pathlib import Path

import polars as pl

from stages import figures
from stages.files import whole
from stages.ingest.images import ImageStore

SHEET = Path("data/predictions.png")
SHEET_PHOTOS, SHEET_COLUMNS = 24, 8
NOBODY = "There are no test photos; tagloom predict asks the model about any photo"


def draw_sheet(asked: pl.DataFrame, predicted: pl.Series, store: ImageStore) -> None:
    """The first photos with what was predicted, and what is true where that is known.

    Args:
        asked: their records, those of the test set first.
        predicted: List(String), the labels of each.
    """
    shown = asked.head(SHEET_PHOTOS)
    photos = list(store.gather(shown["image"].to_numpy()))
    labels = predicted.head(len(shown))
    names = [_name(list(each), true) for each, true in zip(labels, shown["labels"], strict=True)]
    captions = [caption or "" for caption in shown["caption"]]
    held = (asked["subset"] != "test").any()
    kind = "photos of test and holdout" if held else "test photos"
    title = f"Predicted labels of the first {len(shown)} of {len(asked):,} {kind}"
    if asked.is_empty():
        title = NOBODY
    if shown["labels"].is_not_null().any():
        title += "; after ✗ what is true"
    sheet = figures.contact_sheet(title, photos, names, captions, SHEET_COLUMNS)
    with whole(SHEET) as temporary:
        figures.save_photos(sheet, temporary)


def _name(predicted: list[str], true: pl.Series | None) -> str:
    text = " ".join(predicted) or "none"
    if true is None:
        return text
    if list(true) == predicted:
        return f"{text} ✓"
    return f"{text} ✗ {' '.join(true) or 'none'}"
