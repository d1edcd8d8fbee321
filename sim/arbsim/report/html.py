"""The report as one HTML file that opens from disk and never asks the network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from arbsim.report import agreement, explanations, live, story, words
from arbsim.report.chart import latency_chart
from arbsim.report.diagram import diagram_of
from arbsim.report.ledger import ledger
from arbsim.results import BalanceRow, DesignResult, Disagreement, Results

MOST_ROWS = 60
"""Rows of a table that could be long; the rest is in results.json, and the page says how many."""

MOST_ACCOUNTS = 6

_CONTENTS = (
    ("verdict", "Verdict"),
    ("servers", "Servers"),
    ("warnings", "Warnings"),
    ("expectations", "Expected"),
    ("balances", "Balances"),
    ("findings", "Findings"),
    ("steps", "Step by step"),
    ("beliefs", "Who knew what when"),
    ("judged", "What was judged"),
    ("costs", "The cost of safety"),
    ("disagreements", "Disagreements"),
    ("claims", "Claims"),
    ("limits", "Limits"),
    ("manifest", "Manifest and replay"),
    ("parameters", "Parameters"),
    ("glossary", "Glossary"),
)


def render(results: Results) -> str:
    """Return the page."""
    cautions = words.gathered(results.warnings)
    differences = list(_differences(results))
    explained = [name for name, one in results.designs.items() if one.explanation is not None]
    there = {"servers": live.is_live(results), "warnings": bool(cautions), "steps": bool(explained)}
    return page(
        "arbsim.report",
        "report.html.jinja",
        scenario=results.manifest.scenario,
        results=results,
        words=words,
        explanations=explanations,
        live=live,
        agreement=agreement,
        contents=[entry for entry in _CONTENTS if there.get(entry[0], True)],
        explained=explained,
        cells=_cells(results),
        places={name: number for number, name in enumerate(results.designs, start=1)},
        cautions=cautions,
        met=sum(one.status == "met" for one in results.expectations),
        equal=sum(one.balances_count - one.differences_count for one in results.designs.values()),
        differences=differences[:MOST_ROWS],
        differences_count=sum(one.differences_count for one in results.designs.values()),
        final_accounts=list(results.reference)[:MOST_ACCOUNTS],
        few=0 < len(results.reference) <= MOST_ACCOUNTS,
        findings=[(name, told) for name, told in _findings(results) if told],
        disagreements=results.disagreements.first[:MOST_ROWS],
        claims=ledger(results),
        chart=latency_chart(results),
    )


def page(package: str, template: str, *, scenario: Mapping[str, Any], style: str = "", **values: Any) -> str:
    """Fill in a template of a package with values, and with what all pages have; ``style`` comes after theirs."""
    style, script = _asset("style.css") + style, _asset("script.js")
    return (
        _environment(package)
        .get_template(template)
        .render(
            scenario=_code(json.dumps(scenario, indent=2, ensure_ascii=True)),
            style=Markup(style),  # noqa: S704  our own file, as it is hashed
            script=Markup(script),  # noqa: S704
            style_hash=_policy_hash(style),
            script_hash=_policy_hash(script),
            **values,
        )
    )


@lru_cache(maxsize=2)
def _environment(package: str) -> Environment:
    """Return the templates in the folder ``page`` of a package; what they print is escaped, and visible."""
    found = Environment(
        loader=PackageLoader(package, "page"),
        autoescape=select_autoescape(default_for_string=True, default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Whatever is printed first has its control and direction characters made visible, then is escaped.
        finalize=_visible,
    )
    found.globals.update(count=_count, code=_code, ending=_ending, shorten=_shorten)
    found.globals.update(story=story, diagram_of=diagram_of)
    return found


def _visible(value: Any) -> Any:
    return words.clean(value) if type(value) is str else value


def _code(text: str) -> Markup:
    """Text that keeps its lines."""
    return Markup("\n").join(escape(words.clean(line)) for line in text.splitlines())


def _asset(name: str) -> str:
    """Return a file of the page, such as its style."""
    return files("arbsim.report").joinpath("page", name).read_text(encoding="utf-8")


def _policy_hash(text: str) -> str:
    """The source expression by which a content security policy allows this text (CSP level 3, section 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _cells(results: Results) -> dict[tuple[str, str], list[str]]:
    cells: dict[tuple[str, str], list[str]] = {
        (agreement, family): [] for agreement in ("asynchronous", "synchronous") for family in ("bus", "db")
    }
    for name, result in results.designs.items():
        cells[result.agreement, result.family].append(name)
    return cells


def _differences(results: Results) -> Iterator[tuple[str, BalanceRow]]:
    """The first few of every design, so that none is crowded out."""
    share = max(5, MOST_ROWS // max(1, len(results.designs)))
    for name, result in results.designs.items():
        for row in result.differences[:share]:
            yield name, row


def _findings(results: Results) -> Iterator[tuple[str, list[Any]]]:
    for name, result in results.designs.items():
        yield name, list(words.findings_of(results, result))


def _count(result: DesignResult, kind: str) -> int:
    return next(finding.count for one, finding in result.findings.items() if one.value == kind)


def _ending(one: Disagreement, *fates: str) -> str:
    return ", ".join(name for name, fate in one.fates.items() if fate.value in fates)


def _shorten(name: str) -> str:
    return name if len(name) <= 32 else name[:31] + "…"
