"""A sweep's report as one HTML file that opens from disk and never asks the network for anything."""

from __future__ import annotations

import json

from markupsafe import Markup

from arbsim.report.html import asset, code, environment, policy_hash
from arbsim.sweep.measures import ABOUT
from arbsim.sweep.report import words
from arbsim.sweep.report.charts import SERIES_STYLE, Chart
from arbsim.sweep.results import SweepResults

MOST_ROWS = 400
"""Rows of a table that could be long; the rest is in the CSV files, and the page says how many."""


def render(results: SweepResults, charts: dict[str, Chart]) -> str:
    """Return the page."""
    style, script = asset("style.css") + SERIES_STYLE, asset("script.js")
    points = {point.number: point for point in results.points}
    differences = [one for one in results.differences if one.measure in words.TWO]
    return (
        environment("arbsim.sweep.report")
        .get_template("sweep.html.jinja")
        .render(
            results=results,
            words=words,
            about=ABOUT,
            charts=charts,
            points=points,
            estimates=results.estimates[:MOST_ROWS],
            estimates_count=len(results.estimates),
            differences=differences[:MOST_ROWS],
            differences_count=len(differences),
            scenario=code(json.dumps(results.manifest.scenario, indent=2, ensure_ascii=True)),
            style=Markup(style),  # noqa: S704  our own file, as it is hashed
            script=Markup(script),  # noqa: S704
            style_hash=policy_hash(style),
            script_hash=policy_hash(script),
        )
    )
