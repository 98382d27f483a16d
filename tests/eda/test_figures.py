"""Pictures: the same bytes each time, whatever the names and captions hold."""

import io

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from stages import figures


@pytest.fixture
def sheet():
    def make():
        photos = [
            np.random.default_rng(i).integers(0, 256, (120, 120, 3), np.uint8) for i in range(3)
        ]
        return figures.contact_sheet(
            "Photos", [*photos, None], ["$x$", "b", "c", "d"], ["costs $5 or $6"] * 4, 2
        )

    return make


def test_same_sheet_same_bytes(sheet, tmp_path):
    figures.save_photos(sheet(), tmp_path / "a.png")
    figures.save_photos(sheet(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in (tmp_path / "a.png").read_bytes()


def test_few_colours_look_like_all_of_them(sheet, tmp_path):
    figures.save(sheet(), tmp_path / "all.png")
    figures.save_photos(sheet(), tmp_path / "few.png")
    every, few = (
        np.asarray(Image.open(tmp_path / name).convert("RGB"), int)
        for name in ("all.png", "few.png")
    )
    assert (tmp_path / "few.png").stat().st_size < (tmp_path / "all.png").stat().st_size
    assert (few[0, 0] == 255).all()
    assert np.abs(every - few).mean() < 10
    assert np.abs(every.mean() - few.mean()) < 2


def test_long_text_is_cut():
    assert figures.short("a\nb  c") == "a b c"
    assert figures.short("abcdef", 4) == "abc…"
    lines = figures.wrapped("word " * 50).split("\n")
    assert len(lines) == figures.CAPTION_LINES
    assert lines[-1].endswith("…")
    assert max(map(len, lines)) <= figures.CAPTION_WIDTH


def test_bars_are_from_top_to_bottom_and_as_thick_as_slots_say():
    axes = figures.new(4, 3).subplots()
    figures.bars(axes, ["a", "b"], [5, 0], ["5", "0"], slots=6)
    assert [bar.get_width() for bar in axes.patches] == [5, 0]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert bottom - top == pytest.approx(6.2)


def test_heat_map_writes_on_dark_cells_in_white():
    axes = figures.new(4, 3).subplots()
    values = np.array([[np.nan, 1.0], [0.1, np.nan]])
    figures.heat_map(axes, values, ["a", "b"], ["a", "b"], np.array([["", "9"], ["1", ""]]))
    assert {text.get_text(): text.get_color() for text in axes.texts}["9"] == "white"
    assert {text.get_text(): text.get_color() for text in axes.texts}["1"] == figures.INK


@pytest.fixture
def font_of_a_cat(tmp_path, monkeypatch):
    """A font of one sign, 猫, which is a square, as if the system had brought it."""
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord("猫"): "cat"})
    pen = TTGlyphPen(None)
    for number, point in enumerate([(0, 0), (0, 800), (800, 800), (800, 0)]):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyf({".notdef": square, "cat": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Noto Sans CJK SC", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "cat.ttf")
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    manager.addfont(tmp_path / "cat.ttf")


def test_signs_that_matplotlib_lacks_come_from_fonts_that_are_there(font_of_a_cat):
    def drawn():
        figure = figures.new(1, 1)
        figure.text(0.2, 0.2, "猫", size=40)
        figures.save(figure, file := io.BytesIO())
        return np.asarray(Image.open(file).convert("L"))

    with matplotlib.rc_context():
        with pytest.warns(UserWarning, match="missing from font"):
            outline = drawn()
        figures.add_fallbacks()
        figures.add_fallbacks()
        assert matplotlib.rcParams["font.family"].count("Noto Sans CJK SC") == 1
        square = drawn()
    assert 0 < share_of_ink(outline) < 0.8
    assert share_of_ink(square) > 0.95


def share_of_ink(drawn):
    """Of the pixels of the box around all that is dark, those that are."""
    inked = drawn < 128
    return inked.sum() / inked.any(axis=1).sum() / inked.any(axis=0).sum()
