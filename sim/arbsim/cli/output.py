"""What every command prints with: results on stdout, errors as values that ``app`` tells."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from arbsim.results import Results

BROKEN, BAD_INPUT, UNDECIDED, UNREACHABLE, INTERNAL, INTERRUPTED = 1, 2, 3, 4, 5, 130

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


class BadInput(Exception):
    """Something that the user can mend. ``mistakes`` are those of a scenario; ``text`` tells all of it."""

    def __init__(self, text: str, mistakes: tuple[Any, ...] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.mistakes = mistakes


class Broken(Exception):
    """Something that was shown once and is not so any more; exit code 1. The text says what, and where."""


class Unreachable(Exception):
    """A server or a cluster that refuses, does not answer or does not start; the text has the end of its log."""


def print_out(text: str) -> None:
    """Write to stdout. Where the reader has gone (a pipe to head) there is nobody to tell; the exit code stays.

    Raises BadInput where stdout cannot take it (a full disk).
    """
    try:
        typer.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise BadInput(f"error: standard output: {error.strerror}") from None


def visible(text: str) -> str:
    """Text of the user's, with what a terminal would act on made visible."""
    from arbsim.scenario.mistakes import shown

    return shown(text)


def bad_input(text: str) -> BadInput:
    """An error for the user, to be raised; nothing in ``text`` can act on the terminal."""
    return BadInput(f"error: {visible(text)}")


def conclude(results: Results, as_json: bool, report: str | None) -> None:
    """Print the results; leave with 1 where an expectation is broken, with 3 where one is undecided."""
    if as_json:
        print_out(results.model_dump_json(indent=2))
    else:
        from arbsim.report import console

        lines = [console.render(results)]
        if report is not None:
            lines.append(f"Report: {report}")
        if results.exit_code:
            what = "broken" if results.exit_code == BROKEN else "undecided"
            lines.append(f"Exit status {results.exit_code}: an expectation is {what}.")
        print_out("\n".join(lines))
    if results.exit_code:
        raise typer.Exit(results.exit_code)


def told_of(paths: list[Path]) -> str:
    """Where the report's page is, and how large."""
    page = paths[-1]
    return f"{visible(str(page))} ({max(1, page.stat().st_size // 1000)} kB)"
