"""Pages: a file a label, whatever its name; the same bytes each time."""

from pathlib import Path

import numpy as np
import pytest

from stages import figures
from stages.report import pages
from stages.report.pages import Example


def test_any_label_has_a_file_of_its_own():
    labels = ["sea / beach", "sea beach", "..", "Dog", "dog", "feature_maps", "été", "x" * 300]
    names = pages.file_names(labels)
    assert names[:7] == [
        "sea-beach", "sea-beach-2", "label", "Dog", "dog-2", "feature_maps-2", "été",
    ]  # fmt: skip
    assert len({name.casefold() for name in names}) == len(labels)
    assert all(len(f"{name}.png".encode()) < 255 for name in names)


def example(heat: bool = True, caption: str | None = "one $5 or two $6") -> Example:
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (40, 40, 3), np.uint8)
    warmth = np.zeros((40, 40), np.float32)
    warmth[5, 30] = 2.0
    return Example(photo, warmth if heat else None, 0.5, ["$x$"], caption, {"one": 3.0})


@pytest.mark.parametrize("heat", [True, False])
def test_same_page_same_bytes(tmp_path: Path, heat: bool):
    for name in ("a", "b"):
        examples = {"best": [example(heat)] * 3, "typical": [], "false_positive": [example(heat)]}
        page = pages.label_page("$label$", "notes", examples)
        figures.save_photos(page, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def written(page: figures.Figure) -> list[str]:
    return [text.get_text() for text in page.texts]


def test_marked_are_the_words_that_speak_for_the_label():
    page = pages.label_page("label", "", {"best": [example()]})
    marked = [text.get_text() for text in page.texts if text.get_bbox_patch() is not None]
    assert marked == ["one"]
    assert {"one", "$5", "or", "two", "$6"} <= set(written(page))


def test_long_captions_end_in_an_ellipsis_and_none_leaves_no_line():
    page = pages.label_page("label", "", {"best": [example(caption="word " * 200)]})
    assert written(page).count("…") == 1
    assert written(page).count("word") < 40
    page = pages.label_page("label", "", {"best": [example(caption=None)], "typical": []})
    assert written(page)[2:] == [
        pages.HEADINGS["best"], "0.500", "true: $x$", f"{pages.HEADINGS['typical']}: none",
    ]  # fmt: skip


def test_warmth_is_colour_where_the_heat_is():
    photo = np.full((8, 8, 3), 128, np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[2, 3] = 0.01
    warm = pages.warmed(photo, heat)
    assert warm.shape == (8, 8, 3) and warm.dtype == np.uint8
    assert np.ptp(warm[2, 3].astype(int)) > 50
    assert (np.ptp(warm[heat == 0].astype(int), axis=1) < 5).all()
    blank = pages.warmed(photo, np.zeros((8, 8), np.float32))
    assert (blank == warm[0, 0]).all()


def test_a_photo_is_where_it_is_said_to_be(tmp_path: Path):
    from PIL import Image

    photo = np.zeros((1, 40, 40, 3), np.uint8)
    maps = [np.zeros((1, 2, 4, 4), np.float32), np.arange(16.0).reshape(1, 1, 4, 4)]
    page = pages.feature_page("title", photo, ["early", "late"], maps)
    figures.save(page, tmp_path / "page.png")
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
    top = round((pages.HEAD + 0.15) * figures.DPI)
    left, side = round(pages.MARGIN * figures.DPI), round(pages.MAP * figures.DPI)
    assert (pixels[top : top + side, left : left + side] == 0).all()
    assert (pixels[top - 1, left : left + side] == 255).all()
    assert {"title", "early", "late"} <= set(written(page))
