"""Renders results; it runs nothing."""

from __future__ import annotations

import stat
from pathlib import Path

from pydantic import ValidationError

from arbsim.files import whole
from arbsim.report import html, markdown
from arbsim.results import LiveResults, Results

__all__ = ["ReportError", "load_results", "write_results"]

LARGEST = 100_000_000
"""Bytes of a results.json; a larger one is refused."""


class ReportError(ValueError):
    """A folder without results that can be rendered; the text says why."""


def write_results(results: Results, folder: Path) -> list[Path]:
    """Write results.json, report.md and report.html into a folder; each appears whole or not at all.

    Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "results.json": results.model_dump_json(indent=2) + "\n",
        "report.md": markdown.render(results),
        "report.html": html.render(results),
    }
    for name, text in texts.items():
        with whole(folder / name) as file:
            file.write(text)
    return [folder / name for name in texts]


def _results(text: bytes) -> Results:
    """Validate results; those of a live run have one key more."""
    try:
        return Results.model_validate_json(text)
    except ValidationError as error:
        if [one["loc"] for one in error.errors(include_input=False)] != [("live",)]:
            raise
        return LiveResults.model_validate_json(text)


def load_results(folder: Path) -> Results:
    """Read the results.json of a folder. Raises ReportError."""
    path = folder / "results.json"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise ReportError(f"{path} is no file of at most {LARGEST // 1_000_000} MB")
        return _results(path.read_bytes())
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ReportError(f"{path}: {place + ': ' if place else ''}{first['msg']}") from None
