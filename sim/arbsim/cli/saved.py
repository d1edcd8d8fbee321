"""``arbsim audit`` and ``arbsim report``: what a run has saved, judged and rendered again. Nothing is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.output import AsJson, bad_input, conclude, print_out, told_of


@app.command()
def audit(
    history: Annotated[Path, typer.Argument(help="A history.jsonl that arbsim run wrote.")],
    as_json: AsJson = False,
) -> None:
    """Judge a saved history again. Nothing is run, nothing is written."""
    from arbsim.history_file import HistoryError, load
    from arbsim.runner import judge_again

    try:
        saved = load(history)
    except HistoryError as error:
        raise bad_input(str(error)) from None
    conclude(judge_again(saved), as_json, None)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder with a results.json that arbsim run wrote.")],
) -> None:
    """Render a report again from its results.json. Nothing is run."""
    from arbsim.report import ReportError, load_results, write_results

    try:
        paths = write_results(load_results(folder), folder)
    except ReportError as error:
        raise bad_input(str(error)) from None
    except OSError as error:
        raise bad_input(f"{folder}: {error.strerror or 'cannot be written'}") from None
    print_out(f"Report: {told_of(paths)}")
