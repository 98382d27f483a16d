"""The page as text: whole, its own, and not taken in by what stands in labels and captions."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape

from stages import UserError
from stages.ingest.images import ImageStore
from stages.report import card, examples, page, pictures
from tests import factories
from tests.report.conftest import HOSTILE, MODEL_CARD

VOID = {"meta", "img", "input", "br", "link", "hr"}


class Reader(HTMLParser):
    """Notes tags with their attributes, and those that are closed in another order than opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.crossed: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.crossed += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if len(dict(attrs)) < len(attrs):
            self.crossed.append(f"{tag} has an attribute twice")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.crossed.append(tag)


@pytest.fixture(scope="module")
def text(hostile: Path) -> str:
    return (hostile / "report/index.html").read_text("utf-8")


@pytest.fixture(scope="module")
def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    reader = Reader(text)
    assert reader.crossed == []
    return reader.tags


def test_what_is_hostile_is_shown_as_it_is_and_does_nothing(text: str, tags):
    assert {tag for tag, _ in tags}.isdisjoint({"iframe", "u", "i"})
    assert not [attrs for _, attrs in tags if any(name.startswith("on") for name in attrs)]
    assert sum(tag == "script" for tag, _ in tags) == 3
    for label in HOSTILE.values():
        assert f"<bdi>{escape(label)}</bdi>" in text
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', text, re.DOTALL)[1])
    assert HOSTILE["0"] in json.dumps(charts["labels"], ensure_ascii=False)


def test_groups_are_said_to_stay_whole(text: str):
    assert re.search(
        r"160 photos belong to 40 groups, which stay whole, so that [\d.]+\s?% is", text
    )


def test_nothing_is_loaded(tags):
    for tag, attrs in tags:
        if tag == "a":  # the card's links are for people to follow
            assert attrs["href"].startswith("#") or attrs["href"].startswith("https://example.org/")
        for name in ("src", "srcset", "action", "data", "poster"):
            assert (attrs.get(name) or "data:").startswith("data:"), (tag, attrs)
        assert tag != "link"


def test_pictures_have_words_and_each_photo_is_there_once(tags):
    photos = [attrs for tag, attrs in tags if tag == "img"]
    assert all("alt" in attrs for attrs in photos)
    said = [attrs["alt"] for attrs in photos if "id" in attrs]
    assert sum(bool(re.search(r"train-\d+: .*\w", alt)) for alt in said) > len(said) / 2
    first = [attrs["id"] for attrs in photos if "id" in attrs]
    again = [attrs["data-same"] for attrs in photos if "data-same" in attrs]
    assert len(first) == len(set(first)) and again and set(again) <= set(first)
    sources = [attrs["src"] for attrs in photos if "id" in attrs]
    assert len(sources) == len(set(sources))


def test_ids_are_unique_and_what_refers_to_one_finds_it(tags):
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in tags:
        for name in ("for", "aria-labelledby", "data-same"):
            assert attrs.get(name, ids[0]) in ids
        if (attrs.get("href") or "").startswith("#"):
            assert attrs["href"][1:] in ids


def test_tables_and_headings_are_in_order(tags):
    tables, captions = (sum(tag == name for tag, _ in tags) for name in ("table", "caption"))
    assert tables - 1 == captions > 5  # Markdown, as in the card, knows no captions
    assert all(attrs.get("scope") for tag, attrs in tags if tag == "th")
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(level <= before + 1 for before, level in pairwise(levels))
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in tags}


def test_charts_say_in_words_what_they_show(text: str, tags):
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', text, re.DOTALL)[1])
    assert all(len(chart["description"]) > 20 for chart in charts.values())
    assert {attrs["data-chart"] for _, attrs in tags if "data-chart" in attrs} == set(charts)


def test_the_card_is_markdown_whose_tags_are_text():
    shown = str(card.render(MODEL_CARD))
    assert "<h3>&lt;script&gt;" in shown
    assert "&lt;b&gt;one" in shown and '<th scope="col">F1</th>' in shown
    assert "<img" not in shown and 'href="javascript' not in shown


def test_rows_that_were_set_aside_are_counted_by_reason(text: str):
    assert "3 rows could not be taken in" in text
    assert "the file is &lt;empty&gt; &amp; &#34;bad&#34;" in text


def test_the_browser_is_told_to_load_nothing():
    policy = page.policy(["a", "b"])
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy and "'unsafe-inline'" not in policy.split(";")[1]


@pytest.mark.parametrize(
    ("caption", "pieces"),
    [
        ("The dog's <b>dog</b>", [("The ", 0.0), ("dog", 1.0), ("'s <b>", 0.0), ("dog", 1.0),
                                  ("</b>", 0.0)]),
        ("Red", [("Red", 0.25)]),
        ("", []),
        ("nothing of it", [("nothing of it", 0.0)]),
        ("एक लड़की", [("एक ", 0.0), ("लड़की", 0.5)]),
        ("Das Ma\u0308dchen", [("Das ", 0.0), ("Ma\u0308dchen", 1.0)]),
    ],
)  # fmt: skip
def test_words_are_marked_by_how_much_they_do(caption: str, pieces: list):
    effects = {
        "dog": 9.0,
        "red": 1.0,
        "nothing": 0.1,
        "of": -2.0,
        "लड़की": 2.0,
        "ma\u0308dchen": 4.0,
    }
    assert examples.marked(caption, effects) == pieces


def test_however_many_photos_there_are_they_take_no_more_room(tmp_path: Path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (12, 224, 224, 3), np.uint8)
    np.save(tmp_path / "00000.npy", noise)
    store, described = ImageStore(tmp_path), factories.description("image", stored_size=224)
    large = pictures.thumbnails(range(2), store, described)
    monkeypatch.setattr(pictures, "ROOM", 4 * len(large.sources[0]))
    small = pictures.thumbnails(range(12), store, described)
    assert sum(map(len, small.sources.values())) <= pictures.ROOM * 4 / 3 + 12 * 30
    assert small.first(3) == small.sources[3] and small.first(3) is None
    assert small.are_stretched
    monkeypatch.setattr(pictures, "ROOM", 100)
    with pytest.raises(UserError, match=r"lower report.photos or report.labels"):
        pictures.thumbnails(range(12), store, described)


@pytest.mark.parametrize(
    ("are_stretched", "shape"), [(True, "900 / 300"), (False, "1 / 1")], ids=["stretched", "square"]
)
def test_a_photo_that_kept_its_aspect_is_shown_as_the_square_that_it_is(
    are_stretched: bool, shape: str
):
    template = page.templates().get_template("macros.html")
    thumbnails = pictures.Thumbnails({3: "data:"}, set(), are_stretched)
    row = {"image": 3, "id": "3.jpg", "width": 900, "height": 300}
    frame = template.module.photo(thumbnails, row, "a cat & a dog")
    assert f"aspect-ratio: {shape}" in frame
    assert 'alt="Photo 3.jpg: a cat &amp; a dog"' in frame


def test_a_heat_map_is_clear_where_nothing_speaks_for_the_label():
    import io
    from base64 import b64decode

    from PIL import Image

    heat = np.zeros((6, 6), np.float32)
    heat[2, 3] = 4.0
    source = pictures.heat_map(heat)
    with Image.open(io.BytesIO(b64decode(source.partition(",")[2]))) as shown:
        pixels = np.asarray(shown.convert("RGBA"))
    assert len(source) < 1000
    assert pixels.shape == (6, 6, 4)
    assert pixels[2, 3, 3] > 200 and (pixels[heat == 0][:, 3] == 0).all()


def test_numbers_are_as_people_write_them():
    assert [page.figure(0.12345), page.figure(None)] == ["0.123", "–"]
    assert [page.signed(-0.0123), page.signed(0.5)] == ["−0.012", "+0.500"]
    assert page.percent(0.4567) == "46\N{NO-BREAK SPACE}%"
    durations = [page.duration(seconds).split() for seconds in (24.6, 280, 9000)]
    assert durations == [["25", "seconds"], ["4.7", "minutes"], ["2.5", "hours"]]
