"""The page in a browser: quiet, offline, usable by keyboard, on a phone, in the dark and on paper."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from arbsim.report import html, load_results
from arbsim.sweep.report import html as sweep_page
from arbsim.sweep.report.charts import charts_of
from arbsim.sweep.results import SweepResults
from tests.browser.support import needs_browser, opened, serious
from tests.report.results import hostile, shipped

pytestmark = needs_browser

REPORTS = Path(__file__).parents[2] / "reports"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for name in ("two_regions", "one_region", "cdc_distribution"):
        (folder / f"{name}.html").write_text(html.render(shipped(name)), encoding="utf-8")
    (folder / "hostile.html").write_text(html.render(hostile()), encoding="utf-8")
    live = load_results(REPORTS / "two_regions_live")
    (folder / "two_regions_live.html").write_text(html.render(live), encoding="utf-8")
    sweep = SweepResults.model_validate_json((REPORTS / "sweep_lag" / "sweep" / "sweep.json").read_bytes())
    (folder / "sweep.html").write_text(sweep_page.render(sweep, charts_of(sweep)), encoding="utf-8")
    return folder


@pytest.fixture(
    params=["two_regions", "one_region", "cdc_distribution", "two_regions_live", "hostile", "sweep"]
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_opens_in_silence_and_asks_nobody(browser: Browser, folder: Path, name: str) -> None:
    page, heard = opened(browser, folder / f"{name}.html")
    page.get_by_role("button", name="Open or close all parts").click()
    assert heard == []


def test_it_fits_a_phone(browser: Browser, folder: Path, name: str) -> None:
    page, _ = opened(browser, folder / f"{name}.html", viewport={"width": 390, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_check_of_accessibility_finds_nothing_serious_on_a_phone(
    browser: Browser, folder: Path, name: str
) -> None:
    page, _ = opened(
        browser, folder / f"{name}.html", bypass_csp=True, viewport={"width": 390, "height": 844}
    )
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert serious(page) == []


def test_everything_is_there_without_a_script(browser: Browser, folder: Path) -> None:
    page, heard = opened(browser, folder / "two_regions.html", java_script_enabled=False)
    page.locator("summary", has_text="All expectations").click()
    assert page.locator("#expectations table").is_visible()
    assert page.locator("#copy").is_hidden()
    assert heard == []


def test_the_keyboard_reaches_the_contents_and_opens_a_part(browser: Browser, folder: Path) -> None:
    page, _ = opened(browser, folder / "two_regions.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#verdict")
    summary = page.locator("summary", has_text="All expectations")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#expectations table").is_visible()


def test_a_link_into_the_page_leads_to_its_place(browser: Browser, folder: Path) -> None:
    page, _ = opened(browser, folder / "two_regions.html")
    page.locator(".grid a", has_text="db/active-active").click()
    assert page.locator("article", has=page.locator("h3", has_text="db/active-active")).is_visible()
    assert "#design-" in page.url


def test_the_replay_line_can_be_copied(browser: Browser, folder: Path) -> None:
    page, _ = opened(browser, folder / "two_regions.html")
    page.locator("#copy").click()
    page.wait_for_function("document.getElementById('copied').textContent !== ''")


def contrast(page: Page, selector: str) -> float:
    """WCAG 2.2's contrast ratio of an element's text against the nearest background that is painted."""
    ratio: float = page.evaluate(
        """(selector) => {
          const channels = (text) => text.match(/[\\d.]+/g).map(Number);
          const light = (colour) => {
            const [r, g, b] = channels(colour).map((v) => v / 255)
              .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const element = document.querySelector(selector);
          let behind = element;
          while (channels(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
          const [high, low] = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)]
            .sort((a, b) => b - a);
          return (high + 0.05) / (low + 0.05);
        }""",
        selector,
    )
    return ratio


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_the_light_and_in_the_dark(browser: Browser, folder: Path, scheme: str) -> None:
    for name, selectors in {
        "two_regions": (
            "main p",
            ".soft",
            ".violated",
            ".holds",
            "nav a",
            "td a",
            ".contradicted",
            "caption",
        ),
        "two_regions_live": (".none-seen",),
        "one_region": (".inconclusive", ".note p", ".nothing"),
    }.items():
        page, _ = opened(browser, folder / f"{name}.html", color_scheme=scheme)
        for selector in selectors:
            assert contrast(page, selector) >= 4.5, (scheme, selector)


def test_on_paper_every_part_is_open(browser: Browser, folder: Path) -> None:
    page, _ = opened(browser, folder / "two_regions.html")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('details')].every(part => part.open)")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not page.evaluate("[...document.querySelectorAll('details')].every(part => part.open)")
    assert len(page.pdf()) > 10_000
