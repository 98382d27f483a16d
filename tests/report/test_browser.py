"""The page as people use it: in a real Chromium, from a file, at three widths, light and dark."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from docs.screenshots import EXECUTABLE, browser

pytestmark = pytest.mark.skipif(
    shutil.which(EXECUTABLE) is None, reason=f"there is no program {EXECUTABLE}"
)

WIDTHS = {"phone": 375, "tablet": 768, "desktop": 1280}
CHARTS = 10
LEAST_CONTRAST = 4.5  # WCAG 2.2, AA, of text

# Pairs of colour and background of all text, as it is seen, and where one of each kind is.
COLOURS = """() => {
  const seen = {};
  const backgroundOf = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(colour) && !/ \\/ /.test(colour) && !/rgba/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  for (const e of document.querySelectorAll("main *, header *, nav *, footer *")) {
    if (e.closest("svg, [disabled]")) continue;
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    seen[`${getComputedStyle(e).color}|${backgroundOf(e)}`] = e.tagName + "." + e.className;
  }
  return seen;
}"""


@dataclass(frozen=True)
class Seen:
    """The page in the browser, what went wrong there, and what was asked of the network."""

    page: Page
    errors: list[str]
    asked: list[str]

    def __call__(self, selector: str) -> Locator:
        return self.page.locator(selector)


@pytest.fixture(scope="module")
def opened(hostile: Path) -> Iterator[Seen]:
    with browser() as page:
        page.context.set_offline(True)
        seen = Seen(page, [], [])
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("console", lambda message: seen.errors.append(message.text))
        page.on("dialog", lambda dialog: (seen.errors.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: seen.asked.append(request.url))
        page.goto((hostile / "report/index.html").as_uri())
        page.wait_for_selector("html[data-drawn]", state="attached")
        yield seen


@pytest.fixture
def seen(opened: Seen) -> Iterator[Seen]:
    """The page, with which nothing has gone wrong by the end of the test either."""
    yield opened
    assert opened.errors == []


def open_all(seen: Seen) -> None:
    seen("details").evaluate_all("all => all.forEach((each) => { each.open = true; })")


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, by WCAG 2.2."""
    parts = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(pair: str) -> float:
    low, high = sorted(map(luminance, pair.split("|")))
    return (high + 0.05) / (low + 0.05)


def test_nothing_but_the_file_is_asked_for(seen: Seen):
    open_all(seen)
    assert [url for url in seen.asked if not url.startswith("data:")] == [seen.page.url]
    drawn = "all => Promise.all(all.map((each) => each.decode())).then(() => all.length)"
    assert seen("img:not(.heat)").evaluate_all(drawn) > 20


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(seen: Seen, width: str, scheme: str):
    seen.page.set_viewport_size({"width": WIDTHS[width], "height": 800})
    seen.page.emulate_media(color_scheme=scheme)
    open_all(seen)
    expect(seen("[data-chart] svg")).to_have_count(CHARTS)
    wide = seen.page.evaluate("document.documentElement.scrollWidth")
    assert wide == WIDTHS[width]
    drawn = seen("[data-chart] svg").evaluate_all("all => all.map((each) => each.clientWidth)")
    assert all(100 < each <= WIDTHS[width] for each in drawn)
    colours = seen.page.evaluate(COLOURS)
    assert len(colours) > 4
    pale = {where: contrast(pair) for pair, where in colours.items()}
    assert min(pale.values()) >= LEAST_CONTRAST, pale
    dark = luminance(seen("body").evaluate("e => getComputedStyle(e).backgroundColor")) < 0.1
    assert dark == (scheme == "dark")


def test_every_control_has_a_name_and_is_reached_by_keyboard(seen: Seen):
    nameless = """all => all.filter((e) => !(e.textContent.trim() || e.ariaLabel ||
      (e.labels && [...e.labels].some((l) => l.textContent.trim())))).length"""
    assert seen("main button, main select, main input, header select").evaluate_all(nameless) == 0
    assert seen("main .scroll:not([tabindex]), main pre:not([tabindex])").count() == 0
    seen.page.keyboard.press("Tab")
    expect(seen(".skip")).to_be_focused()
    expect(seen(".skip")).to_be_in_viewport()


def test_a_table_is_sorted_by_a_click_and_by_a_key(seen: Seen):
    table = seen("table.sorted")
    f1 = table.locator("th", has_text="F1")

    def values() -> list[float]:
        return [float(each) for each in table.locator("tbody td:nth-child(5)").all_inner_texts()]

    expect(table.locator("[aria-sort]")).to_have_text("Photos")
    f1.locator("button").click()
    expect(f1).to_have_attribute("aria-sort", "descending")
    assert values() == sorted(values(), reverse=True) and len(values()) == 10
    f1.locator("button").press("Enter")
    expect(f1).to_have_attribute("aria-sort", "ascending")
    assert values() == sorted(values())
    expect(table.locator("[aria-sort]")).to_have_count(1)
    table.locator("th button").first.click()
    names = table.locator("tbody th").all_inner_texts()
    assert names.index("7") < names.index("8") < names.index("9")


def test_a_label_is_brought_out_in_both_charts(seen: Seen):
    def coloured() -> list[str]:
        return seen("[data-chart=precision_recall] path[stroke-width='3']").evaluate_all(
            "all => all.map((each) => each.getAttribute('d'))"
        )

    before = coloured()
    assert len(before) == 1
    seen("#curve-label").select_option(index=3)
    seen.page.wait_for_function(
        "was => document.querySelector(\"[data-chart=precision_recall] path[stroke-width='3']\")"
        ".getAttribute('d') !== was", arg=before[0],
    )  # fmt: skip
    assert len(coloured()) == 1


def test_heat_maps_come_on_demand(seen: Seen):
    photo = seen("#photos figure.photo").first
    heat, button = photo.locator(".heat"), photo.locator(".heat-switch")
    expect(heat).to_be_hidden()
    button.click()
    expect(heat).to_be_visible()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert heat.bounding_box() == photo.locator("img").first.bounding_box()
    button.press("Space")
    expect(heat).to_be_hidden()
    everywhere = seen("#all-heat")
    everywhere.click()
    expect(seen("#photos .heat[hidden]")).to_have_count(0)
    everywhere.click()
    expect(heat).to_be_hidden()


def test_dark_and_light_by_the_switch_whatever_the_system_has(seen: Seen):
    def paper() -> float:
        return luminance(seen("body").evaluate("e => getComputedStyle(e).backgroundColor"))

    seen.page.emulate_media(color_scheme="light")
    seen("#theme").select_option("dark")
    assert paper() < 0.1
    seen.page.reload()
    seen.page.wait_for_selector("html[data-drawn]", state="attached")
    assert paper() < 0.1
    seen("#theme").select_option("light dark")
    assert paper() > 0.9


@pytest.fixture
def doubts(seen: Seen) -> Locator:
    """The photos in doubt, none looked at."""
    seen.page.reload()
    seen.page.wait_for_selector("html[data-drawn]", state="attached")
    return seen("#corrections figure")


def id_of(doubt: Locator) -> str | None:
    return doubt.locator("[name=id]").get_attribute("value")


def labels_of(doubt: Locator, on: str = "true") -> list[str]:
    chips = doubt.locator(f".chip[aria-pressed={on}]")
    return chips.evaluate_all("all => all.map((each) => each.dataset.label)")


def downloaded(seen: Seen, folder: Path) -> dict:
    """The corrections in the file that the page gives, by photo."""
    from stages.ingest import corrections

    with seen.page.expect_download() as coming:
        seen("#corrections [type=submit]").press("Enter")
    name = coming.value.suggested_filename
    assert re.fullmatch(r"corrections-20\d{12}\.csv", name)
    coming.value.save_as(folder / name)
    read = corrections.read(folder)
    assert not read.rejected
    return {id: labels for id, (*_, labels) in read.by_id.items()}


def test_to_agree_takes_nothing_away(seen: Seen, doubts: Locator, tmp_path: Path):
    expect(seen("#corrections [type=submit]")).to_be_disabled()
    doubt = doubts.first
    given, suggested = labels_of(doubt), labels_of(doubt, "false")
    assert given and suggested
    expect(doubt.locator(".state")).to_have_text("not looked at")
    doubt.get_by_label("These are right").check()
    expect(doubt.locator(".state")).to_have_text(f"will be: {', '.join(given)}")
    expect(seen("#ticked")).to_have_text("1 photo")
    assert downloaded(seen, tmp_path) == {id_of(doubt): (tuple(sorted(given)), ())}


def test_labels_are_put_right_by_keyboard_alone(seen: Seen, doubts: Locator, tmp_path: Path):
    doubt, keyboard = doubts.first, seen.page.keyboard
    given, suggested = labels_of(doubt), labels_of(doubt, "false")
    chips = doubt.locator(".chip")
    chips.first.focus()
    keyboard.press("Space")
    for _ in range(len(given)):
        keyboard.press("Tab")
    keyboard.press("Enter")
    expect(chips.nth(len(given))).to_be_focused()
    right = [*given[1:], suggested[0]]
    expect(doubt.locator(".state")).to_have_text(f"will be: {', '.join(right)}")
    expect(doubt.locator("[name=id]")).to_be_checked()

    doubt.locator(".another").focus()
    keyboard.type("no such label")
    keyboard.press("Enter")
    expect(doubt.get_by_role("alert")).to_have_text("There is no label “no such label”.")
    expect(doubt.locator(".another")).to_have_attribute("aria-invalid", "true")
    keyboard.press("ControlOrMeta+a")
    keyboard.type(f" {given[0]} ")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(doubt.get_by_role("alert")).to_be_hidden()
    assert set(labels_of(doubt)) == {*given, suggested[0]}
    assert downloaded(seen, tmp_path) == {id_of(doubt): (tuple(sorted(labels_of(doubt))), ())}


def test_a_photo_may_have_no_label_or_another_one(seen: Seen, doubts: Locator, tmp_path: Path):
    doubt = doubts.first
    names = seen("#label-names option").evaluate_all("all => all.map((each) => each.value)")
    other = next(name for name in names if name not in labels_of(doubt))
    for _ in labels_of(doubt):
        doubt.locator(".chip[aria-pressed=true]").first.click()
    expect(doubt.locator(".state")).to_have_text("will be: no label")
    doubt.locator(".another").fill(other)
    doubt.get_by_role("button", name="Add").click()
    expect(doubt.locator(".state")).to_have_text(f"will be: {other}")
    assert downloaded(seen, tmp_path) == {id_of(doubt): ((other,), ())}


def test_chips_are_told_apart_without_colour_and_by_those_who_listen(seen: Seen, doubts: Locator):
    doubt = doubts.first
    shapes = "e => [getComputedStyle(e).borderStyle, getComputedStyle(e).borderRadius].join()"
    given, suggested = doubt.locator(".chip.given").first, doubt.locator(".chip.suggested").first
    assert given.evaluate(shapes) != suggested.evaluate(shapes)
    tree = doubt.get_by_role("group").aria_snapshot()
    first, other = labels_of(doubt)[0], labels_of(doubt, "false")[0]
    assert re.search(rf"{re.escape(first)} ?, given, in doubt.*\[pressed\]", tree)
    assert re.search(rf"{re.escape(other)} ?, suggested", tree)
    assert tree.count("[pressed]") == len(labels_of(doubt))
