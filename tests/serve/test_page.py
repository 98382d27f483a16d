"""The page as people use it, in a real Chromium."""

import shutil
from base64 import b64encode
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from docs.screenshots import EXECUTABLE, browser
from tests.hostile import jpeg
from tests.serve.conftest import Running

pytestmark = pytest.mark.skipif(
    shutil.which(EXECUTABLE) is None, reason=f"there is no program {EXECUTABLE}"
)

DROP = """([name, type, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([bytes], name, { type }));
  const options = { bubbles: true, cancelable: true };
  const target = document.querySelector("#drop");
  for (const kind of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(kind, { ...options, dataTransfer: dropped }));
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    with browser() as page:
        yield page


class Seen:
    """The page with nothing on it yet, and what happens to it."""

    def __init__(self, page: Page, service: Running) -> None:
        self.page, self.service = page, service
        self.messages: list[str] = []
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{service.port}"
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(self.address)
        expect(page.locator("#about")).to_contain_text("10 labels, from photos and their captions")

    def drop(self, name: str, kind: str, content: bytes) -> None:
        self.page.evaluate(DROP, [name, kind, b64encode(content).decode()])

    def drop_photo(self, name: str = "seven.jpg") -> None:
        self.drop(name, "image/jpeg", jpeg(200))
        expect(self.page.locator(".card", has_text=name).locator(".bars li")).to_have_count(10)

    def count(self, path: str) -> int:
        return self.asked.count(self.address + path)


@pytest.fixture
def seen(chromium: Page, service: Running) -> Iterator[Seen]:
    page = chromium.context.browser.new_page()
    yield Seen(page, service)
    page.close()


def test_a_photo_its_threshold_its_caption_and_its_heat_map(seen: Seen):
    page = seen.page
    seen.drop_photo()
    card = page.locator(".card")
    verdict = card.locator(".verdict")
    expect(verdict).not_to_be_empty()

    slider = page.get_by_label("A label holds from")
    slider.fill("0")
    expect(card.locator(".holds")).to_have_count(10)
    slider.fill("100")
    expect(verdict).to_have_text("No label holds")
    expect(page.locator("#meaning")).to_have_text("100 %")
    page.get_by_role("button", name="Each its own").click()
    expect(page.locator("#meaning")).to_have_text("its own threshold")
    assert seen.count("/predict") == 1  # none of that asked the service

    def shares() -> list[str]:
        return card.locator(".bars").evaluate(
            "bars => [...bars.children].map(r => r.style.cssText)"
        )

    before = shares()
    with page.expect_response("**/predict") as answered:
        card.get_by_label("Caption").press_sequentially("a seven and a two", delay=5)
    assert answered.value.ok
    expect(card).not_to_have_class("card waiting")
    assert seen.count("/predict") == 2  # once, after the last key
    assert shares() != before

    label = card.get_by_role("button").filter(has_text="%").first
    name = label.locator(".name").inner_text()
    label.click()
    heat = page.get_by_alt_text(f"Warm where the photo speaks for {name}")
    expect(heat).to_be_visible()
    assert heat.evaluate("image => image.naturalWidth") == 32
    photo = page.get_by_alt_text("seven.jpg")
    assert heat.bounding_box() == pytest.approx(photo.bounding_box(), abs=0.1)
    expect(label).to_have_attribute("aria-pressed", "true")
    label.click()
    expect(heat).to_be_hidden()
    assert seen.messages == []
    assert all(url.startswith((seen.address, f"blob:{seen.address}")) for url in seen.asked)


def test_several_photos_and_the_keyboard(seen: Seen):
    page = seen.page
    seen.drop_photo("one.jpg")
    seen.drop_photo("two.jpg")
    expect(page.locator(".card h2")).to_have_text(["two.jpg", "one.jpg"])
    page.get_by_role("button", name="Remove two.jpg").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".card h2")).to_have_text(["one.jpg"])
    expect(page.get_by_role("button", name="Remove one.jpg")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Choose photos")).to_be_focused()
    assert seen.messages == []


def test_errors_are_told_in_words(seen: Seen):
    seen.drop("letter.jpg", "image/jpeg", b"Dear reader")
    alert = seen.page.locator(".card").get_by_role("alert")
    expect(alert).to_have_text("Not an image of a format that is read.")
    seen.drop("large.jpg", "image/jpeg", bytes(2**20 + 1))
    expect(alert.first).to_have_text("This file has more than 1 MB.")


@pytest.mark.parametrize("width", [360, 820, 1360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_any_screen(seen: Seen, width: int, scheme: str):
    page = seen.page
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    seen.drop_photo("a" * 100 + ".jpg")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(246, 246, 248)", "dark": "rgb(21, 22, 27)"}[scheme]


def test_what_there_is_for_programs(seen: Seen):
    page = seen.page
    page.get_by_role("link", name="For programs").click()
    expect(page.get_by_role("heading", name="POST /predict")).to_be_visible()
    expect(page.get_by_text("curl -F photos=@photo.jpg").first).to_be_visible()
    assert seen.messages == []
