"""Renders a sweep; it runs nothing."""

from __future__ import annotations

import io
from pathlib import Path

from arbsim.files import whole
from arbsim.sweep.report import console, html, markdown
from arbsim.sweep.report.charts import alone, charts_of
from arbsim.sweep.results import SweepResults
from arbsim.sweep.tables import write_differences, write_estimates

__all__ = ["console", "write_sweep"]


def write_sweep(results: SweepResults, folder: Path) -> list[Path]:
    """Write sweep.json, the tables, the charts and both reports into a folder; each appears whole or not at all.

    The last path is the page's. Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    charts = charts_of(results)
    estimates, differences = io.StringIO(newline=""), io.StringIO(newline="")
    write_estimates(results, estimates)
    write_differences(results, differences)
    texts = {
        "sweep.json": results.model_dump_json(indent=2) + "\n",
        "estimates.csv": estimates.getvalue(),
        "differences.csv": differences.getvalue(),
        **{f"{name}.svg": alone(chart) for name, chart in charts.items()},
        "report.md": markdown.render(results, charts),
        "report.html": html.render(results, charts),
    }
    for name, text in texts.items():
        with whole(folder / name) as file:
            file.write(text)
    return [folder / name for name in texts]
