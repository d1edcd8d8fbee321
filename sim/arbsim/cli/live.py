"""``arbsim live``: a scenario through its designs on real servers, judged and reported as ``arbsim run`` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.inputs import (
    Seed,
    choose_designs,
    own_designs_failing,
    read_scenario,
    replay_line,
    slug,
)
from arbsim.cli.output import INTERRUPTED, AsJson, Unreachable, bad_input, conclude, print_out
from arbsim.cli.run import progress, write_run

if TYPE_CHECKING:
    from arbsim.live import LiveRun
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
    seed: Seed = None,
    repeat: Annotated[
        int,
        typer.Option(
            help="Repeat the workload's first race this often through each design, live and simulated, and"
            " compare how often it goes wrong; 300 settle a difference of 0.10.",
            min=0,
            show_default=False,
        ),
    ] = 0,
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
    done = _run(scenario, designs, file, seed, design or [], repeat)
    folder = out if out is not None else Path("reports") / f"{slug(file, scenario.name)}_live"
    report = write_run(done.run, folder)
    if done.interrupted:
        if as_json:
            print_out(done.run.results.model_dump_json(indent=2))
        typer.echo(f"Interrupted. What happened so far: {report}", err=True)
        raise SystemExit(INTERRUPTED)
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
    scenario: Scenario, designs: dict[str, Design], file: str, seed: int | None, names: list[str], repeat: int
) -> LiveRun:
    from arbsim.live import NothingToRepeat, ServerUnavailable, run_live
    from arbsim.workload import build_workload

    used = scenario.seed if seed is None else seed
    replay = replay_line("live", file, used, names) + (f" --repeat {repeat}" if repeat else "")
    workload = build_workload(scenario, used)
    try:
        with own_designs_failing(scenario), progress(len(designs)) as on_design:
            return run_live(scenario, workload, used, designs, replay, on_design, repeat)
    except NothingToRepeat as missing:
        raise bad_input(str(missing)) from None
    except ServerUnavailable as problem:
        raise Unreachable(str(problem)) from None
