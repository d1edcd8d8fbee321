"""How far a command is: a bar on a terminal, nothing in a pipe; a sweep has a line now and then in a log file too."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from arbsim.cli.output import visible

if TYPE_CHECKING:
    from arbsim.sweep.run import Progress

LINE_S = 10
"""Seconds between two lines of a log."""

Told = Callable[["Progress"], None]


@contextmanager
def counting(total: int | None, what: str = "") -> Iterator[Callable[[str, int], None]]:
    """Give a function that tells what is at work, and how many are done since it last told.

    ``total``: how many there will be, None where that is not known.
    """
    if not sys.stderr.isatty():
        yield lambda text, done: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn(what), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda text, done: bar.update(task, description=escape(visible(text)), advance=done)


@contextmanager
def sweep_progress() -> Iterator[Told]:
    """Give a function that shows how far a sweep is, as it suits where stderr goes."""
    if sys.stderr.isatty():
        with _bar() as told:
            yield told
    elif _is_file():
        yield _lines()
    else:
        yield lambda progress: None


def _is_file() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stderr.fileno()).st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def _bar() -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rate="")
        begun = time.monotonic()

        def told(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.done,
                total=progress.planned,
                description=f"replications; {_points(progress)}",
                rate=_rate(progress, begun),
            )

        yield told


def _lines() -> Told:
    begun = last = time.monotonic()

    def told(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_S and progress.done < progress.planned:
            return
        last = now
        rate = _rate(progress, begun)
        typer.echo(
            f"sweep: {progress.done:,} of {progress.planned:,} replications, {_points(progress)}"
            + (f", {rate}, {_left(progress, begun)} left" if rate else ""),
            err=True,
        )

    return told


def _points(progress: Progress) -> str:
    return f"{progress.points_done:,} of {progress.points:,} points"


def _rate(progress: Progress, begun: float) -> str:
    seconds = time.monotonic() - begun
    fresh = progress.done - progress.found
    return f"{fresh / seconds:.1f}/s" if fresh > 0 and seconds > 0 else ""


def _left(progress: Progress, begun: float) -> str:
    fresh = max(1, progress.done - progress.found)
    seconds = (progress.planned - progress.done) * (time.monotonic() - begun) / fresh
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
