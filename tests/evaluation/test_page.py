"""evaluation.html and comparison.html: what is drawn, what stays closed, and the page in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.evaluation.benchmarks import get
from engine.evaluation.compare import compare, write
from engine.evaluation.panels import Sheet, panels, summary
from engine.evaluation.table import tables
from engine.report import charts
from tests.evaluation.benchmarks.make import answer
from tests.evaluation.make import ANSWER, REFUSAL, evaluation
from tests.report.make import NASTY


def says(number: int, strategy: str) -> str | None:
    """Nasty answers that the judge cannot read, one error, and flips in both directions."""
    if number == 20:
        return None
    if number < len(NASTY):
        return REFUSAL if strategy == "ecso" else NASTY[number]
    if strategy == "ecso" and number % 9 == 0:
        return ANSWER
    return REFUSAL if (number * 7) % 10 < (3 if strategy == "direct" else 8) else ANSWER


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    sets = ("mm_safetybench", "vlguard", "mme")
    evaluation(root / "a", says, benchmarks=sets, strategies=("direct", "ecso"), name=NASTY[0])
    evaluation(
        root / "b", lambda number, _: says(number, "ecso"), benchmarks=sets, strategies=("direct",), name="tuned"
    )
    write(str(root / "c"), compare(str(root / "a"), str(root / "b")))
    return root


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in ("a/evaluation.html", "c/comparison.html")}


@pytest.mark.parametrize("name", ["a/evaluation.html", "c/comparison.html"])
def test_text_from_models_is_text(pages: dict[str, str], name: str) -> None:
    """One script, of ours; no handler, no style; every nasty text escaped, in answers and in the model's name."""
    page = pages[name]
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"<[^>]*\s(on\w+|style)=", page.partition("<body>")[2])
    assert "Content-Security-Policy" in page
    assert "default-src &#39;none&#39;" in page


def test_the_papers_pictures(pages: dict[str, str]) -> None:
    page = pages["a/evaluation.html"]
    assert page.count('class="chart radar"') >= 2  # thirteen scenarios; tasks of MME
    assert "13-Gov_Decision" in page
    assert "macro8" in page
    assert "newly fixed" in page
    assert "newly broken" in page
    assert "score, perception" in page  # utility beside safety
    three = pages["c/comparison.html"]
    assert "tuned direct" in three
    assert 'class="area area-third"' in three


def test_answers_stay_closed_unless_a_judge_called_them_harmless(pages: dict[str, str]) -> None:
    """The text of a harmful answer stands inside a closed box only."""
    page = pages["a/evaluation.html"]
    assert ANSWER in page
    for at in (match.start() for match in re.finditer(re.escape(ANSWER), page)):
        before = page[:at]
        is_closed = before.rfind('<details class="guard">') > before.rfind("</details>")
        row = before[before.rfind('<details class="row">') :]
        assert is_closed or "guard question" in row  # a safe query: its answer is no harm
    assert 'details class="guard" open' not in page


def test_a_radar_draws_every_series() -> None:
    spokes = [charts.Spoke("a", [0.0, 1.0]), charts.Spoke("<b>", [0.5, None]), charts.Spoke("c", [1.0, 0.5])]
    drawn = charts.radar(spokes, series=["direct", "final"], name="r", title="<t>")
    assert drawn.count('class="ring"') == 4
    assert drawn.count("<circle") == 5
    assert "&lt;t&gt;" in drawn
    first = re.search(r'class="area area-direct" points="([^"]+)"', drawn)
    assert first is not None
    points = [tuple(map(float, each.split(","))) for each in first[1].split()]
    assert points[0] == (200.0, 200.0)  # nothing: the middle
    x, y = points[2]
    assert (x - 200) ** 2 + (y - 200) ** 2 == pytest.approx(160**2, rel=1e-2)  # all: the rim


playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from tests.report.test_browser import CHROMIUM, Opened, open_all, settled  # noqa: E402


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        try:
            launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no chromium: {str(error).splitlines()[0]}")
        yield launched
        launched.close()


@pytest.fixture(params=["a/evaluation.html", "c/comparison.html"])
def address(request: pytest.FixtureRequest, folder: Path) -> str:
    return (folder / request.param).as_uri()


def test_nothing_is_fetched_and_nothing_runs(browser: Any, address: str) -> None:
    found = Opened(browser, address)
    open_all(found.page)
    found.page.evaluate("for (const each of document.querySelectorAll('button.picture')) each.click()")
    found.page.wait_for_timeout(200)
    assert found.said == []
    assert [url for url in found.asked if not url.startswith("data:")] == [address]
    text = found.page.locator("main").inner_text()
    assert all(nasty in text for nasty in NASTY[:2])
    ids = found.value("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))
    found.context.close()


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_no_sideways_scroll(browser: Any, address: str, width: int) -> None:
    found = Opened(browser, address, viewport={"width": width, "height": 740}, is_mobile=width < 500)
    open_all(found.page)
    inner, page = found.value("[innerWidth, document.documentElement.scrollWidth]")
    assert page <= inner == width
    found.context.close()


def test_light_and_dark(browser: Any, address: str) -> None:
    """The radar's lines follow the theme."""
    stroke = "getComputedStyle(document.querySelector('.area-final')).stroke"
    seen = set()
    for scheme in ("light", "dark"):
        found = Opened(browser, address, color_scheme=scheme)
        seen.add(found.value(stroke))
        found.context.close()
    assert len(seen) == 2


def test_the_keyboard_opens_a_row_and_its_text(browser: Any, address: str) -> None:
    """Closed box, row, guard: each opens by Enter; pictures stay blurred until one is pressed."""
    found = Opened(browser, address)
    page = found.page
    box = page.locator("#flips details.more:has(details.row)").first
    box.locator("summary").first.focus()
    page.keyboard.press("Enter")
    row = box.locator("details.row").first
    row.locator("summary").first.focus()
    page.keyboard.press("Enter")
    guard = row.locator("details.guard").first
    assert guard.is_visible()
    assert not guard.locator(".said").is_visible()
    guard.locator("summary").focus()
    page.keyboard.press("Enter")
    assert guard.locator(".said").is_visible()
    picture = row.locator("button.picture").first
    assert "blur" in str(picture.locator("img").evaluate("image => getComputedStyle(image).filter"))
    picture.focus()
    page.keyboard.press("Enter")
    settled(page)
    assert picture.get_attribute("aria-pressed") == "true"
    found.context.close()


def test_every_drawing_says_what_it_is(browser: Any, address: str) -> None:
    found = Opened(browser, address)
    bare = found.value(
        """[...document.querySelectorAll('main svg.chart, main svg.swatch')].filter(each =>
        each.getAttribute('aria-hidden') !== 'true' &&
        !(each.getAttribute('role') === 'img' && each.getAttribute('aria-labelledby').split(' ').every(id =>
          document.getElementById(id)?.textContent))).length"""
    )
    assert bare == 0
    assert found.value("document.querySelectorAll('svg.radar[role=img]').length") >= 1
    found.context.close()


@pytest.mark.parametrize(("judges", "is_said"), [(["llm"], True), (["keywords"], False), (["llm", "keywords"], False)])
def test_a_missing_over_refusal_figure_is_said(tmp_path: Path, judges: list[str], is_said: bool) -> None:
    """On safe queries `llm` tells harm only: no refusals in any figure, which scores, page and table say."""
    sets = ("mm_safetybench", "vlguard")
    document = evaluation(tmp_path / "e", says, benchmarks=sets, strategies=("direct",), judges=judges)
    words = "vlguard: no over-refusal figure; llm does not tell refusals from answers. Add --judge keywords"
    assert document["notes"] == ([words] if is_said else [])
    page = (tmp_path / "e" / "evaluation.html").read_text()
    assert (words in page) is is_said
    captions = [str(table.caption) for table in tables(document)]
    assert [words in caption for caption in captions] == [False, is_said]


def test_a_graders_scores_are_drawn_on_unsafe_rows() -> None:
    said = {"grade": 0.25}
    found = tuple(get("figstep").score([answer("x", said, category=topic) for topic in ("Socks", "Pies")]))
    sheet = Sheet("figstep", "safety", "", [found])
    (panel,) = panels(sheet)
    assert (panel.metric, panel.unit, [line.cells[0].value for line in panel.lines if line.cells[0]]) == (
        *("score", "points"),
        [25.0] * 3,
    )
    (headline,) = summary(sheet)
    assert (headline.words, headline.judge, headline.better) == ("score", "grade", "up")
