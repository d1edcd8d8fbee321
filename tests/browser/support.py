"""How the tests of pages get a browser, and what they listen to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_browser = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("ARBSIM_REQUIRE_BROWSER") != "1",
    reason="there is no Chromium on the PATH",
)


def opened(browser: Browser, path: Path, part: str = "", **options: object) -> tuple[Page, list[str]]:
    """The page in a window of its own, and what it complained of or asked for beside itself.

    ``part``: what the address has behind the file, such as "#step=4".
    """
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.on(
        "request",
        lambda request: heard.append(request.url) if request.url.partition("#")[0] != path.as_uri() else None,
    )
    page.goto(path.as_uri() + part)
    return page, heard


def serious(page: Page) -> list[tuple[str, str, str]]:
    """What an automatic check of accessibility finds of weight: the rule, the first place, and what to mend."""
    return [
        (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
