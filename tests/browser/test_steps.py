"""The committed report of two_regions in a browser: its counterexample stepped through, against the JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page

from arbsim.explanation import Explanation, Side
from arbsim.report import load_results
from tests.browser.support import needs_browser, opened, serious

pytestmark = needs_browser

FOLDER = Path(__file__).parents[2] / "reports" / "two_regions"
REPORT = FOLDER / "report.html"
RESULTS = load_results(FOLDER)
DESIGN = "bus/regional-deltas"
EXPLANATION = RESULTS.designs[DESIGN].explanation


def explanation() -> Explanation:
    assert EXPLANATION is not None
    return EXPLANATION


def first_side(page: Page) -> Locator:
    return page.locator(".side").first


def panel(side: Locator) -> dict[str, str]:
    """What the panel says that each region believes, and what is true."""
    terms, values = (side.locator(f".believed {tag}").all_text_contents() for tag in ("dt", "dd"))
    return dict(zip(terms, values, strict=True))


def told(side: Side) -> Iterator[dict[str, str]]:
    """What the panel should say at each step, from the first state on, by the JSON."""
    believed, true = dict(side.opening), side.opening_true
    for step in (None, *side.steps):
        if step is not None:
            believed |= step.believed
            true = step.true or true
        yield {**{f"{region} believes": balance for region, balance in believed.items()}, "True": true}


def test_the_keyboard_steps_through_it_and_finds_the_numbers_of_the_json(browser: Browser) -> None:
    page, heard = opened(browser, REPORT)
    side = first_side(page)
    side.get_by_role("slider").focus()
    page.keyboard.press("Home")
    for number, expected in enumerate(told(explanation().broken)):
        assert panel(side) == expected, number
        assert page.url.endswith(f"#step={number}")
        page.keyboard.press("ArrowRight")
    assert heard == []


def test_arrow_keys_work_on_the_buttons_too(browser: Browser) -> None:
    page, _ = opened(browser, REPORT, "#step=4")
    side = first_side(page)
    side.get_by_role("button", name="Forward").focus()
    page.keyboard.press("ArrowLeft")
    assert "Step 3 of" in side.get_by_role("status").inner_text()
    page.keyboard.press("Enter")
    assert "Step 4 of" in side.get_by_role("status").inner_text()


def test_the_mouse_steps_through_it_and_finds_the_stale_read(browser: Browser) -> None:
    page, heard = opened(browser, REPORT)
    side, broken = first_side(page), explanation().broken
    side.get_by_role("button", name="To the beginning").click()
    for _ in broken.steps:
        side.get_by_role("button", name="Forward").click()
    side.get_by_role("button", name="Back").click()
    assert f"Step {len(broken.steps) - 1} of" in side.get_by_role("status").inner_text()
    stale = broken.decisions[-1]
    side.locator(f"svg [data-step='{stale.read_step}'] .no").click()
    assert panel(side)[f"{stale.region} believes"] == stale.believed == "100.00"
    assert panel(side)["True"] == stale.true == "40.00"
    assert "stale read" in side.get_by_role("status").inner_text()
    assert heard == []


def test_later_steps_are_dimmed_and_the_row_of_the_step_is_current(browser: Browser) -> None:
    page, _ = opened(browser, REPORT, "#step=4")
    side = first_side(page)
    assert side.locator("svg .later").count() == len(explanation().broken.steps) - 4
    assert side.locator("tr[aria-current=step]").get_attribute("data-step") == "4"


def test_a_link_leads_to_a_step_of_the_twin(browser: Browser) -> None:
    twin = explanation().twin
    assert twin is not None
    page, _ = opened(browser, REPORT, f"#step={twin.stopped_step}&design={DESIGN}&side=twin")
    side = page.locator(".side[data-side=twin]").first
    assert side.is_visible()
    assert "refusal" in side.get_by_role("status").inner_text()


@pytest.mark.parametrize(
    "part", ["#step=99999", "#step=-1", "#step=x", "#step=2&design=nobody", "#step", "#%"]
)
def test_a_link_that_leads_nowhere_harms_nothing(browser: Browser, part: str) -> None:
    page, heard = opened(browser, REPORT, part)
    assert first_side(page).get_by_role("status").inner_text().startswith("Step ")
    assert heard == []


def test_without_a_script_the_steps_are_a_table(browser: Browser) -> None:
    page, _ = opened(browser, REPORT, java_script_enabled=False)
    side = first_side(page)
    assert side.locator(".scrub").is_hidden()
    assert side.locator("table.steps tbody tr").count() == len(explanation().broken.steps) + 1
    assert side.locator("table.steps").is_visible()


def test_on_paper_all_steps_of_all_sides_are_laid_out(browser: Browser) -> None:
    page, _ = opened(browser, REPORT, "#step=2")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    for side in page.locator(".side").all():
        assert side.locator("svg").is_visible()
        assert side.locator("table.steps").is_visible()
        assert side.locator(".scrub").is_hidden()
    assert page.locator("svg .later").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_automatic_check_of_accessibility_finds_nothing_serious(browser: Browser, scheme: str) -> None:
    page, _ = opened(browser, REPORT, bypass_csp=True, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert serious(page) == []


def test_the_check_of_accessibility_would_find_something(browser: Browser) -> None:
    page, _ = opened(browser, REPORT, bypass_csp=True)
    page.evaluate("document.querySelector('.side input').removeAttribute('aria-label')")
    found = {one["id"] for one in Axe().run(page, context=".side").response["violations"]}
    assert "label" in found
