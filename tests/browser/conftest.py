"""One browser for each module of tests. It is closed with it: while it is open, no other event loop can run here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.support import CHROMIUM


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "ARBSIM_REQUIRE_BROWSER=1, but there is no Chromium on the PATH"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _windows_closed(browser: Browser) -> Iterator[None]:
    """Each window is a process of its own, and would stay to the end of the module."""
    yield
    for context in browser.contexts:
        context.close()
