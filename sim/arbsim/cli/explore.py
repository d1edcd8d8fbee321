"""``arbsim explore``: every order of a few operations."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.inputs import (
    ScenarioFile,
    Seed,
    choose_designs,
    own_designs_failing,
    read_scenario,
    replay_line,
    slug,
)
from arbsim.cli.output import BROKEN, INTERRUPTED, AsJson, bad_input, print_out, visible
from arbsim.machine import cores

if TYPE_CHECKING:
    from arbsim.explore.counterexample import Counterexample
    from arbsim.explore.search import Stop
    from arbsim.worlds.exhaustive.search import Progress

OPERATIONS = 2
MEMORY_MB = 2_000


@app.command()
def explore(
    file: ScenarioFile,
    design: Annotated[
        list[str] | None,
        typer.Option(help="This design alone; path.py:ClassName adds one of your own. Can be repeated."),
    ] = None,
    operations: Annotated[
        int,
        typer.Option(
            help="How many operations; of more, some that ask one account for more than it has.", min=1
        ),
    ] = OPERATIONS,
    seed: Seed = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Run every order by itself, instead of one of each class.")
    ] = False,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds for each design; what was covered is told.", min=0)
    ] = None,
    memory_limit: Annotated[int, typer.Option(help="Megabytes.", min=1)] = MEMORY_MB,
    out: Annotated[
        Path | None,
        typer.Option(help="Where counterexamples go; reports/SCENARIO/counterexamples if absent."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that share a large search (default: one per core).", min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try every order that the world allows of a few operations, through each design."""
    from arbsim.explore.replaying import counterexamples
    from arbsim.explore.run import explore_scenario
    from arbsim.explore.slices import slice_of
    from arbsim.explore.text import render
    from arbsim.workload import build_workload

    scenario = read_scenario(file)
    designs = choose_designs(scenario, design or [])
    used = scenario.seed if seed is None else seed
    part = slice_of(build_workload(scenario, used), operations)
    replay = replay_line("explore", file, used, design or []) + _options(operations, plain)
    with own_designs_failing(scenario), _progress(time_limit, memory_limit) as stop:
        document, found = explore_scenario(
            scenario, part, used, designs, replay, reduced=not plain, workers=workers or cores(), stop=stop
        )
    folder = out if out is not None else Path("reports") / slug(file, scenario.name) / "counterexamples"
    written = _counterexamples(folder, counterexamples(scenario, part, used, designs, found, replay))
    print_out(
        document.model_dump_json(indent=2)
        if as_json
        else "\n".join([render(document), *map(_again, written)])
    )
    if any(one.stopped == "interrupted" for one in found.values()):
        typer.echo("Interrupted: the designs that are not named were not begun.", err=True)
        sys.stdout.flush()
        raise SystemExit(INTERRUPTED)
    if document.exit_code:
        if not as_json:
            what = "broken" if document.exit_code == BROKEN else "undecided"
            print_out(f"Exit status {document.exit_code}: an expectation is {what}.")
        raise typer.Exit(document.exit_code)


def _counterexamples(folder: Path, found: Iterable[tuple[str, Counterexample]]) -> list[Path]:
    """Write the counterexamples; return their files."""
    from arbsim.explore.replaying import save

    taken: set[str] = set()
    try:
        return [save(document, folder, taken) for _, document in found]
    except OSError as error:
        raise bad_input(f"{folder}: {error.strerror or 'cannot be written'}") from None


def _again(path: Path) -> str:
    return f"Counterexample: arbsim replay {quote(visible(str(path)))}"


def _options(operations: int, plain: bool) -> str:
    return (f" --operations {operations}" if operations != OPERATIONS else "") + (" --plain" if plain else "")


@contextmanager
def _progress(seconds: float | None, megabytes: int) -> Iterator[Callable[[str], Stop]]:
    """Ask the limits after each run; on a terminal show how far it is."""
    if not sys.stderr.isatty():
        yield lambda name: _Limits(name, seconds, megabytes, lambda text: None).ask
        return
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text

    with Status("", console=Console(stderr=True)) as status:

        def tell(text: str) -> None:
            status.update(Text(text))

        yield lambda name: _Limits(name, seconds, megabytes, tell).ask


class _Limits:
    """One design's limits, and what is told of its progress a few times a second."""

    def __init__(self, name: str, seconds: float | None, megabytes: int, tell: Callable[[str], None]) -> None:
        self._name = visible(name)
        self._seconds = seconds
        self._megabytes = megabytes
        self._tell = tell
        self._began = self._told = time.monotonic()

    def ask(self, progress: Progress) -> str | None:
        """Return why to stop, or None."""
        now = time.monotonic()
        spent = now - self._began
        if self._seconds is not None and spent >= self._seconds:
            return "time"
        if now - self._told > 0.2:
            self._told = now
            if _megabytes() > self._megabytes:
                return "memory"
            runs = progress.runs + progress.redundant
            self._tell(
                f"{self._name}  {progress.runs:,} runs  {progress.steps:,} steps  {runs / spent:,.0f} a second"
                + (f"  about {progress.share_done:.1%} of it done" if progress.share_done else "")
            )
        return None


def _megabytes() -> int:
    """The most memory that this process has had."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (1024 * 1024 if sys.platform == "darwin" else 1024)
