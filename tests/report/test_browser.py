"""The page in a real headless Chromium: nothing is fetched, nothing is shown before it is asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.report import write_report
from tests.report.make import NASTY, curated_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("ECSO_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium, or the one that `playwright install chromium` brought."""
    with playwright.sync_playwright() as driver:
        try:
            launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no chromium: {str(error).splitlines()[0]}")
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return Path(write_report(str(curated_run(tmp_path_factory.mktemp("browser") / "run")))).as_uri()


class Opened:
    """A page, and what it said and asked for."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def value(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Opened]:
    found = Opened(browser, address)
    yield found
    found.context.close()


@pytest.fixture
def phone(browser: Any, address: str) -> Iterator[Opened]:
    size = {"width": 360, "height": 740}
    found = Opened(browser, address, viewport=size, is_mobile=True, has_touch=True, device_scale_factor=2)
    yield found
    found.context.close()


def open_all(page: Any) -> None:
    """Every closed box, as a person would who reads it all."""
    page.evaluate("for (const box of document.querySelectorAll('details')) box.open = true")


def test_nothing_is_fetched_and_nothing_is_wrong(opened: Opened, address: str) -> None:
    """No console line, error, dialog or request but the page itself, with every box open and every picture shown."""
    open_all(opened.page)
    opened.page.evaluate("for (const each of document.querySelectorAll('button.picture')) each.click()")
    opened.page.wait_for_timeout(200)
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [address]


def test_nasty_text_is_text(opened: Opened) -> None:
    open_all(opened.page)
    text = opened.page.locator("main").inner_text()
    for nasty in (NASTY[0], NASTY[1], NASTY[2], NASTY[5]):
        assert nasty in text
    assert opened.value("document.querySelectorAll('script').length") == 1
    assert opened.value("document.querySelectorAll('[onerror], [onmouseover], [style]').length") == 0
    assert opened.value("document.querySelectorAll('main img:not([src^=\"data:image/webp\"])').length") == 0


def test_an_injected_script_would_not_run(opened: Opened) -> None:
    """The second fence: were an escape to fail, the policy stops script, style, request and form."""
    opened.page.evaluate(
        """() => {
          const script = document.createElement('script'); script.textContent = 'window.ran = true';
          document.body.append(script);
          const box = document.createElement('div'); box.innerHTML = '<img src=x onerror="window.ran = true">';
          document.body.append(box);
          const far = document.createElement('img'); far.src = 'https://example.org/x.png'; document.body.append(far);
        }"""
    )
    opened.page.wait_for_timeout(200)
    assert opened.value("window.ran === undefined")
    assert sum("Content Security Policy" in line for line in opened.said) >= 3


def blurred(picture: Any) -> bool:
    return "blur" in str(picture.locator("img").evaluate("image => getComputedStyle(image).filter"))


def until(page: Any, script: str) -> None:
    """Wait for a condition. (`wait_for_function` uses eval, which the page's policy forbids.)"""
    for _ in range(100):
        if page.evaluate(script):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {script}")


def settled(page: Any) -> None:
    """After the blur's transition."""
    page.wait_for_timeout(30)
    until(page, "document.getAnimations().length === 0")


def test_a_click_shows_a_picture_and_escape_blurs_it(opened: Opened) -> None:
    picture = opened.page.locator("button.picture").first
    assert picture.get_attribute("aria-label").startswith("Show picture of row ")
    assert blurred(picture)
    picture.click()
    settled(opened.page)
    assert picture.get_attribute("aria-pressed") == "true"
    assert not blurred(picture)
    assert opened.page.locator("#blur").is_visible()
    opened.page.keyboard.press("Escape")
    settled(opened.page)
    assert blurred(picture)
    assert not opened.page.locator("#blur").is_visible()


def test_the_blur_button_hides_all(opened: Opened) -> None:
    pictures = opened.page.locator("#duplicates button.picture")
    assert pictures.count() >= 3
    for place in range(3):
        pictures.nth(place).click()
    opened.page.locator("#blur").click()
    settled(opened.page)
    assert all(blurred(pictures.nth(place)) for place in range(3))


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_shows_a_picture(opened: Opened, key: str) -> None:
    """Tab alone comes from the top of the page to a picture, with a visible focus, and a key shows it."""
    on_picture = "document.activeElement.matches('button.picture')"
    for _ in range(120):
        opened.page.keyboard.press("Tab")
        if opened.value(on_picture):
            break
    assert opened.value(on_picture)
    outline = opened.value("getComputedStyle(document.activeElement).outlineWidth")
    assert float(outline.removesuffix("px")) >= 2
    picture = opened.page.locator("button.picture:focus")
    opened.page.keyboard.press(key)
    settled(opened.page)
    assert picture.get_attribute("aria-pressed") == "true"
    assert not blurred(picture)


def test_the_skip_link_comes_first(opened: Opened) -> None:
    opened.page.keyboard.press("Tab")
    assert opened.value("document.activeElement.textContent") == "Skip to the report"
    opened.page.keyboard.press("Enter")
    assert opened.value("document.activeElement.id") == "main"


def test_harmful_text_is_hidden_until_opened(opened: Opened) -> None:
    row = opened.page.locator("details.row", has=opened.page.locator(".chip-harmful")).first
    row.locator("summary").first.click()
    guard = row.locator("details.guard", has_text="Answer judged harmful").first
    said = guard.locator(".said")
    assert guard.is_visible()
    assert not said.is_visible()
    guard.locator("summary").focus()
    opened.page.keyboard.press("Enter")
    assert said.is_visible()
    assert "direct answer" in said.inner_text()


def test_the_theme_follows_the_system_and_the_button(browser: Any, address: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    for scheme in ("light", "dark"):
        found = Opened(browser, address, color_scheme=scheme)
        button = found.page.locator("#theme")
        first = found.value(ground)
        assert button.get_attribute("aria-pressed") == str(scheme == "dark").lower()
        button.click()
        second = found.value(ground)
        assert first != second
        assert button.get_attribute("aria-pressed") == str(scheme == "light").lower()
        light, dark = (first, second) if scheme == "light" else (second, first)
        assert (light, dark) == ("rgb(250, 249, 246)", "rgb(20, 22, 26)")
        found.context.close()


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_no_sideways_scroll(browser: Any, address: str, width: int) -> None:
    found = Opened(browser, address, viewport={"width": width, "height": 740})
    open_all(found.page)
    inner, page = found.value("[innerWidth, document.documentElement.scrollWidth]")
    assert page <= inner == width
    found.context.close()


def test_a_phone(phone: Opened) -> None:
    """Nothing sticks out but what scrolls in its own box, and touch targets of pictures are large."""
    open_all(phone.page)
    assert phone.value("[innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    outside = phone.value(
        """[...document.querySelectorAll('main *')].filter(each => each.getBoundingClientRect().right > 361
        && !each.closest('.scroll')).map(each => each.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    picture = phone.page.locator("button.picture").first
    box = picture.bounding_box()
    assert min(box["width"], box["height"]) >= 44
    picture.tap()
    settled(phone.page)
    assert not blurred(picture)
    assert phone.said == []


def test_wide_tables_can_be_scrolled_by_keyboard(phone: Opened) -> None:
    boxes = phone.value(
        """[...document.querySelectorAll('.scroll')].map(box =>
        [box.tabIndex, box.getAttribute('role'), !!box.getAttribute('aria-label')])"""
    )
    assert boxes
    assert all(found == [0, "region", True] for found in boxes)


def test_reduced_motion(browser: Any, address: str) -> None:
    found = Opened(browser, address, reduced_motion="reduce")
    assert found.value("getComputedStyle(document.querySelector('button.picture img')).transitionDuration") == "0s"
    found.context.close()


def test_every_drawing_says_what_it_is(opened: Opened) -> None:
    """A drawing is hidden from screen readers (its row has the figures) or is an image with a name."""
    bare = opened.value(
        """[...document.querySelectorAll('main svg.chart, main svg.swatch')].filter(each =>
        each.getAttribute('aria-hidden') !== 'true' &&
        !(each.getAttribute('role') === 'img' && each.getAttribute('aria-labelledby').split(' ').every(id =>
          document.getElementById(id)?.textContent))).length"""
    )
    assert bare == 0
    assert opened.value("document.querySelectorAll('svg[role=img]').length") == 3
    ids = opened.value("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))


def test_the_section_in_view_is_marked(opened: Opened) -> None:
    opened.page.locator("nav a", has_text="Verdict flips").click()
    until(opened.page, "document.querySelector('nav a[aria-current]')?.textContent === 'Verdict flips'")
    assert opened.value("document.querySelectorAll('nav a[aria-current]').length") == 1


def test_without_script_pictures_stay_blurred(browser: Any, address: str) -> None:
    found = Opened(browser, address, java_script_enabled=False)
    picture = found.page.locator("button.picture").first
    picture.click()
    assert picture.get_attribute("aria-pressed") == "false"
    found.context.close()
