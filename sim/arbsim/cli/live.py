"""``arbsim live``: a scenario through its designs on real servers, judged and reported as ``arbsim run`` does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.inputs import choose_designs, read_scenario, replay_line, slug
from arbsim.cli.output import INTERRUPTED, AsJson, Unreachable, bad_input, conclude
from arbsim.cli.run import progress, write_run

if TYPE_CHECKING:
    from arbsim.live import LiveRun
    from arbsim.results import DesignResult
    from arbsim.scenario import Scenario
    from arbsim.worlds.api import Design


@app.command()
def live(
    file: Annotated[
        str | None, typer.Argument(help="The scenario, or - for standard input.", show_default=False)
    ] = None,
    design: Annotated[
        list[str] | None,
        typer.Option(help="Run this design alone; path.py:ClassName adds one of your own. Can be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the scenario's.", min=0)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes; reports/SCENARIO_live if absent.")
    ] = None,
    setup: Annotated[
        bool,
        typer.Option("--setup", help="Fetch Kafka and Debezium once, with Maven, and prepare fast starts."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a scenario through its designs on real servers, started here on loopback, and judge each."""
    if setup:
        _set_up()
        if file is None:
            return
    if file is None:
        raise bad_input("name a scenario, or give --setup")
    scenario = read_scenario(file)
    designs = choose_designs(scenario, design or [])
    done = _run(scenario, designs, file, seed, design or [])
    folder = out if out is not None else Path("reports") / f"{slug(file, scenario.name)}_live"
    report = write_run(done.run, folder)
    if done.interrupted:
        typer.echo(f"Interrupted. What happened so far: {report}", err=True)
        raise typer.Exit(INTERRUPTED)
    if done.unavailable is not None:
        raise Unreachable(f"{done.unavailable}\nWhat was judged before: {report}")
    conclude(done.run.results, as_json, report)


def _set_up() -> None:
    """Fetch what is needed, once. Raises BadInput where Java or Maven is missing."""
    from arbsim.live import JavaMissing, ServerUnavailable, set_up

    def waiting_for(what: str) -> None:
        typer.echo(f"{what} ...", err=True)

    try:
        typer.echo(f"Ready: {set_up(waiting_for)}", err=True)
    except JavaMissing as missing:
        raise bad_input(str(missing)) from None
    except ServerUnavailable as problem:
        raise Unreachable(str(problem)) from None


def _run(
    scenario: Scenario, designs: dict[str, Design], file: str, seed: int | None, names: list[str]
) -> LiveRun:
    from arbsim.live import ServerUnavailable, run_live
    from arbsim.runner import DesignFailed
    from arbsim.workload import build_workload

    used = scenario.seed if seed is None else seed
    replay = replay_line("live", file, used, names)
    listed = {entry.name for entry in scenario.designs}
    workload = build_workload(scenario, used)
    try:
        with _told(len(designs)) as (on_design, waiting_for):
            return run_live(scenario, workload, used, designs, replay, on_design, waiting_for)
    except ServerUnavailable as problem:
        raise Unreachable(str(problem)) from None
    except DesignFailed as failure:
        if failure.design in listed:
            raise
        raise bad_input(str(failure)) from failure


@contextmanager
def _told(
    total: int,
) -> Iterator[tuple[Callable[[str, DesignResult | None], None], Callable[[str], None]]]:
    """Progress for people: which server is waited for, then which design is at work; a pipe hears nothing."""
    with progress(total) as on_design:

        def waiting_for(server: str) -> None:
            if sys.stderr.isatty():
                on_design(f"waiting for {server}", None)

        yield on_design, waiting_for
