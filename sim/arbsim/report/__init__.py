"""Renders results; it runs nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from arbsim.report import markdown
from arbsim.results import Results

__all__ = ["write_results"]


def write_results(results: Results, folder: Path) -> list[Path]:
    """Write results.json and report.md into a folder; each appears whole or not at all.

    Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "results.json": results.model_dump_json(indent=2) + "\n",
        "report.md": markdown.render(results),
    }
    return [_write(folder / name, text) for name, text in texts.items()]


def _write(path: Path, text: str) -> Path:
    """Write aside, then rename."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    return path
