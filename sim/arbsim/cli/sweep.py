"""``arbsim sweep``: how likely, how sensitive, how far; on this machine or on a Dask cluster."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.inputs import quoted_place, read_scenario, slug
from arbsim.cli.output import AsJson, Unreachable, bad_input, print_out, told_of
from arbsim.cli.progress import sweep_progress
from arbsim.machine import cores

if TYPE_CHECKING:
    from arbsim.sweep.executors import Workers
    from arbsim.sweep.plan import Plan
    from arbsim.sweep.results import SweepResults


@app.command()
def sweep(
    file: Annotated[str, typer.Argument(help="A scenario with a sweep: block, or - for standard input.")],
    out: Annotated[
        Path | None, typer.Option(help="Where runs and report go; reports/SCENARIO/sweep if absent.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Go on until rates of violating runs are known within this, such as 5%."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes on this machine; one for each core if absent.", min=1, max=1024),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(help="Use the cluster of this scheduler (tcp://host:port), or start one: local."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run a sweep of more than 1,000 points.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a scenario over many parameters and seeds; each number comes with its interval."""
    _check_extra("sweep", "numpy", "scipy")
    if dask is not None:
        _check_extra("dask", "distributed")
    plan = _plan(file, precision)
    _check_size(plan, yes)
    folder = out if out is not None else Path("reports") / slug(file, plan.scenario.name) / "sweep"
    place = quoted_place(file)
    replay = f"arbsim sweep {place}" + ("" if precision is None else f" --precision {quote(precision)}")
    results = _run(plan, folder, workers or cores(), dask, place, replay)
    _conclude(results, folder, as_json)


def _check_extra(extra: str, *modules: str) -> None:
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise bad_input(f"this needs {', '.join(missing)}: pip install 'arbsim[{extra}]'")


def _plan(file: str, precision: str | None) -> Plan:
    from pydantic_core import PydanticCustomError

    from arbsim.scenario.quantities import Percent
    from arbsim.sweep.plan import PlanError, make_plan

    try:
        ppm = None if precision is None else Percent(at_least=1_000).read(precision)
    except PydanticCustomError as error:
        raise bad_input(f"--precision: {error.message()}; write it like 5%") from None
    try:
        return make_plan(read_scenario(file), ppm)
    except PlanError as error:
        raise bad_input(str(error)) from None


def _check_size(plan: Plan, yes: bool) -> None:
    from arbsim.sweep.plan import POINTS_MAX

    count = len(plan.points)
    if count > POINTS_MAX and not yes:
        runs = count * plan.replications * len(plan.designs)
        raise bad_input(
            f"the sweep has {count:,} points, more than {POINTS_MAX:,}: at least {runs:,} runs of a design; "
            "vary less, or add --yes to run them all"
        )


def _run(plan: Plan, folder: Path, workers: int, dask: str | None, file: str, replay: str) -> SweepResults:
    from arbsim.sweep.executors import ClusterError
    from arbsim.sweep.run import run_sweep
    from arbsim.sweep.store import StoreError
    from arbsim.sweep.task import OtherVersion

    try:
        with sweep_progress() as told:
            return run_sweep(plan, folder, lambda: _workers(workers, dask), file, replay, told)
    except StoreError as error:
        raise bad_input(str(error)) from None
    except OSError as error:
        raise bad_input(f"{folder}: {error.strerror or 'cannot be written'}") from None
    except ClusterError as error:
        raise Unreachable(str(error)) from None
    except OtherVersion as other:
        raise bad_input(
            f"the workers have arbsim {other.workers}, and this is {other.ours}: install the same on both"
        ) from None


def _workers(count: int, dask: str | None) -> Workers:
    if dask is not None:
        from arbsim.sweep.dask import connect

        return connect(dask, count)
    from arbsim.sweep.executors import LocalProcesses

    return LocalProcesses(count)


def _conclude(results: SweepResults, folder: Path, as_json: bool) -> None:
    """Write the report, print the result, and leave with its exit code."""
    from arbsim.sweep.report import console, write_sweep

    try:
        paths = write_sweep(results, folder)
    except OSError as error:
        raise bad_input(f"{folder}: {error.strerror or 'cannot be written'}") from None
    if as_json:
        print_out(results.model_dump_json(indent=2))
    else:
        print_out(f"{console.render(results)}\nReport: {told_of(paths)}")
    if results.exit_code:
        raise typer.Exit(results.exit_code)
