"""The report as Markdown: complete, and whatever came from the scenario stays what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from arbsim.report import markdown
from tests.report.results import HOSTILE, hostile, shipped

SECTIONS = (
    "What arbitrates",
    "Verdicts",
    "Balances against what was accepted",
    "Findings",
    "Who knew what when",
    "The cost of safety",
    "Expectations",
    "Where designs disagree",
    "What was judged",
    "Claims, one by one",
    "Assumptions and limits of the model",
    "Parameters of the model",
    "Glossary",
    "Manifest",
)


@pytest.mark.parametrize("name", ["two_regions", "one_region", "cdc_distribution"])
def test_every_section_is_there_and_in_order(name: str) -> None:
    headings = re.findall(r"^## (.*)$", markdown.render(shipped(name)), re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == list(SECTIONS)


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    width = 0
    for line in markdown.render(hostile()).splitlines():
        if not line.startswith("| ") and not line.startswith("|-") and not line.startswith("| -"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert width in (0, cells), line
        width = cells


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield from token.children or [token]


def test_hostile_text_stays_text() -> None:
    text = markdown.render(hostile())
    assert "\x1b" not in text
    assert "\u202e" not in text
    found = list(tokens(text))
    assert {token.content for token in found if token.type.startswith("html")} == {"<br>"}
    assert not [token for token in found if token.type in ("link_open", "image", "em_open")]
    assert [token.tag for token in found].count("h1") == 2  # opened and closed
    shown = "".join(token.content for token in found)
    assert HOSTILE in shown


def test_code_cannot_leave_its_fence() -> None:
    text = markdown.render(hostile())
    assert "\n````\n" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("<b>", "\\<b\\>"),
        ("[x](y)", "\\[x\\]\\(y\\)"),
        ("\x07", "\\\\x07"),
    ],
)
def test_escaping(text: str, shown: str) -> None:
    assert markdown.escape(text) == shown


@pytest.mark.parametrize(("text", "shown"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("a|b", "`a\\|b`")])
def test_code_in_a_table(text: str, shown: str) -> None:
    assert markdown.cell(text) == shown
