"""The page: one file, sealed by its policy, complete, small, and the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from arbsim.report import html, load_results
from tests.report.results import hostile, shipped


class Page(HTMLParser):
    """What a page consists of: tags with attributes, ids, links, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inline: dict[str, str] = {}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("style", "script") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline[self._inside] = self.inline.get(self._inside, "") + data
        else:
            self.text += data

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


@pytest.fixture(params=["two_regions", "one_region", "cdc_distribution", "lost_update_trap", "hostile"])
def page(request: pytest.FixtureRequest) -> Page:
    name: str = request.param
    return Page(html.render(hostile() if name == "hostile" else shipped(name)))


def test_the_policy_allows_our_style_and_script_and_nothing_else(page: Page) -> None:
    (policy,) = [
        attrs["content"] or ""
        for tag, attrs in page.tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none';")
    for kind, text in page.inline.items():
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert set(page.inline) == {"style", "script"}


def test_nothing_is_fetched(page: Page) -> None:
    assert not {"src", "style", "onclick", "onload"} & {name for _, attrs in page.tags for name in attrs}
    assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    assert all(href.startswith("#") for href in page.values("href"))


def test_ids_are_unique_and_every_link_has_its_place(page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {href.removeprefix("#") for href in page.values("href")} <= set(ids)
    for attribute in ("aria-labelledby",):
        for names in page.values(attribute):
            assert set(names.split()) <= set(ids)


def test_every_table_has_a_caption_and_every_figure_is_named(page: Page) -> None:
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption")
    assert tags.count("svg") == tags.count("title") - 1 == tags.count("desc")


def test_servers_that_were_there_are_not_said_to_have_the_same_replicas() -> None:
    live = load_results(Path(__file__).parents[2] / "reports" / "two_regions_live")
    promise = "Both families get the same replica regions."
    assert promise in Page(html.render(shipped("two_regions"))).text
    assert promise not in Page(html.render(live)).text


def test_it_is_small(page: Page) -> None:
    assert len(html.render(shipped("two_regions")).encode()) < 300_000


def test_hostile_text_is_shown_letter_by_letter() -> None:
    page = Page(html.render(hostile()))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "<script>alert(1)</script> [red]x[/red] {{7*7}} | `a` *b* \\ & \" '" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", page.text)
    assert "\\u202e" in page.text


def test_the_same_results_give_the_same_bytes() -> None:
    assert html.render(shipped("two_regions")) == html.render(shipped("two_regions"))


def test_a_trap_stands_beside_its_cure() -> None:
    page = Page(html.render(shipped("two_regions")))
    assert "Its cure: db/select-for-update" in page.text
