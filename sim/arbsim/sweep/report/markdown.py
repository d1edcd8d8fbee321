"""A sweep's summary as Markdown, with the charts as pictures beside it."""

from __future__ import annotations

from collections.abc import Iterator

from arbsim.report.markdown import cell, code, escape, table
from arbsim.scenario.sweeps import Measure
from arbsim.sweep.measures import ABOUT
from arbsim.sweep.report import words
from arbsim.sweep.report.charts import Chart
from arbsim.sweep.results import SweepResults

TOLD: tuple[Measure, ...] = ("violated", "anomalies", "money_lost", "fate_p99")
"""Measures that are told point by point; all of them are in estimates.csv."""

MOST_ROWS = 200
"""Rows of a table that could be long; all of them are in the CSV files."""


def render(results: SweepResults, charts: dict[str, Chart]) -> str:
    """Return the summary; ``charts`` lie beside it under their names."""
    return "\n".join(_lines(results, charts)).rstrip() + "\n"


def _lines(results: SweepResults, charts: dict[str, Chart]) -> Iterator[str]:
    yield f"# {escape(results.name)}\n"
    if results.question:
        yield f"**{escape(results.question)}**\n"
    yield f"{words.headline(results)} Simulated in virtual time; nothing here ran on a real server.\n"
    yield f"{escape(words.scope(results))}.\n"
    yield "## Designs over the whole sweep\n"
    rows = [
        [
            cell(row.design),
            words.rate(row.violated),
            words.value(row.fate_p99, "fate_p99"),
            words.frontier(row, results),
        ]
        for row in results.frontier
    ]
    yield from table(["design", "violating runs (95 %)", "p99 to fate, ms", "frontier"], rows)
    yield from (f"- {escape(caveat)}" for caveat in words.caveats(results))
    yield ""
    yield from _broken(results)
    for name, chart in charts.items():
        yield f"## {escape(chart.title)}\n"
        yield f"![{escape(chart.description)}]({name}.svg)\n"
        yield from _beside(results, name)
    yield from _estimates(results)
    yield from _differences(results)
    yield from _manifest(results)


def _broken(results: SweepResults) -> Iterator[str]:
    for claim in results.broken_claims:
        kinds = ", ".join(kind.value for kind in claim.kinds)
        where = escape(words.values(claim.values))
        told = f"broke its own claim ({kinds}) in {claim.runs:,} runs; the first: seed {claim.seed}, {where}."
        yield f"- {code(claim.design)} {told}"
    for failed in results.failed[:MOST_ROWS]:
        yield f"- failed: seed {failed.seed}, {escape(words.values(failed.values))}: {escape(failed.error)}"
    for witness in results.witnesses:
        yield f"- one violating run of {code(witness.design)}: {code(witness.replay)}"
    if results.broken_claims or results.failed or results.witnesses:
        yield ""


def _beside(results: SweepResults, name: str) -> Iterator[str]:
    """What a chart shows, in words."""
    if name == "rates" and results.thresholds:
        yield from (
            f"- {code(one.design)}: {escape(words.threshold(one, results.axis))}"
            for one in results.thresholds
        )
        yield ""
    if name == "sensitivity":
        yield from (f"- {escape(words.swing(one))}" for one in words.strongest(results)[:10])
        yield ""


def _estimates(results: SweepResults) -> Iterator[str]:
    yield "## Every point\n"
    paths = [parameter.path for parameter in results.parameters]
    measures = [measure for measure in TOLD if measure in results.measures]
    found = {(one.point, one.design, one.measure): one for one in results.estimates}
    designs = [row.design for row in results.frontier]
    rows = []
    for point in results.points:
        for design in designs:
            told = []
            for measure in measures:
                one = found[point.number, design, measure]
                is_rate = ABOUT[measure].form == "rate"
                told.append(words.rate(one, one.count, one.runs) if is_rate else words.value(one, measure))
            rows.append([*(escape(point.values[path]) for path in paths), cell(design), *told])
    head = [*(cell(path) for path in paths), "design", *(words.title(measure) for measure in measures)]
    yield from table(head, rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        yield f"{len(rows) - MOST_ROWS:,} more rows are in estimates.csv.\n"


def _differences(results: SweepResults) -> Iterator[str]:
    if not results.differences:
        return
    yield f"## Differences from {escape(results.baseline)}, seed by seed\n"
    yield "Rates in points of a percent. The last column says how many times as wide the interval would be if the"
    yield "designs had been run on seeds of their own.\n"
    points = {point.number: point for point in results.points}
    told = [one for one in results.differences if one.measure in words.TWO]
    rows = [
        [
            escape(words.values(points[one.point].values)),
            cell(one.design),
            words.title(one.measure),
            words.difference(one, one.measure),
            words.number(one.narrower),
        ]
        for one in told[:MOST_ROWS]
    ]
    yield from table(["point", "design", "measure", "difference (95 %)", "narrower"], rows)
    yield "All measures are in differences.csv.\n"


def _manifest(results: SweepResults) -> Iterator[str]:
    manifest = results.manifest
    yield "## Measures\n"
    for measure in results.measures:
        yield f"- **{escape(words.title(measure))}**: {escape(ABOUT[measure].meaning)}"
    yield ""
    yield "## Manifest\n"
    yield f"- arbsim {manifest.arbsim}, seed {manifest.seed}"
    yield f"- SHA-256 of all that decides a run {code(manifest.identity)}"
    yield f"- replay: {code(manifest.replay)}\n"
