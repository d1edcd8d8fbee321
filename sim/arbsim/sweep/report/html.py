"""A sweep's report as one HTML file that opens from disk and never asks the network for anything."""

from __future__ import annotations

from arbsim.report.html import page
from arbsim.sweep.measures import ABOUT
from arbsim.sweep.report import words
from arbsim.sweep.report.charts import SERIES_STYLE, Chart
from arbsim.sweep.results import SweepResults

MOST_ROWS = 400
"""Rows of a table that could be long; the rest is in the CSV files, and the page says how many."""


def render(results: SweepResults, charts: dict[str, Chart]) -> str:
    """Return the page."""
    differences = [one for one in results.differences if one.measure in words.TWO]
    return page(
        "arbsim.sweep.report",
        "sweep.html.jinja",
        scenario=results.manifest.scenario,
        style=SERIES_STYLE,
        results=results,
        words=words,
        about=ABOUT,
        charts=charts,
        points={point.number: point for point in results.points},
        estimates=results.estimates[:MOST_ROWS],
        estimates_count=len(results.estimates),
        differences=differences[:MOST_ROWS],
        differences_count=len(differences),
    )
