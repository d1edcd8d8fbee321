"""``arbsim run``: a scenario through its designs in virtual time, judged and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.inputs import (
    Changes,
    ScenarioFile,
    Seed,
    change_scenario,
    choose_designs,
    own_designs_failing,
    read_scenario,
    replay_line,
    slug,
)
from arbsim.cli.output import AsJson, bad_input, conclude, told_of
from arbsim.cli.progress import counting

if TYPE_CHECKING:
    from arbsim.results import DesignResult
    from arbsim.runner import Run
    from arbsim.scenario import Scenario
    from arbsim.worlds.api import Design

HISTORY = "history.jsonl"


@app.command()
def run(
    file: ScenarioFile,
    design: Annotated[
        list[str] | None,
        typer.Option(help="Run this design alone; path.py:ClassName adds one of your own. Can be repeated."),
    ] = None,
    seed: Seed = None,
    set_: Changes = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes; reports/SCENARIO if absent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a scenario through its designs in virtual time, and judge each."""
    scenario = change_scenario(read_scenario(file), set_ or [])
    designs = choose_designs(scenario, design or [])
    used = scenario.seed if seed is None else seed
    done = _run(scenario, designs, used, replay_line("run", file, used, design or [], set_ or []))
    folder = out if out is not None else Path("reports") / slug(file, scenario.name)
    report = write_run(done, folder)
    conclude(done.results, as_json, report)


def _run(scenario: Scenario, designs: dict[str, Design], seed: int, replay: str) -> Run:
    from arbsim.explore.every_order import every_order
    from arbsim.runner import run_scenario
    from arbsim.workload import build_workload

    with own_designs_failing(scenario), progress(len(designs)) as told:
        workload = build_workload(scenario, seed)
        return run_scenario(scenario, workload, seed, designs, replay, told, search=every_order)


@contextmanager
def progress(total: int | None) -> Iterator[Callable[[str, DesignResult | None], None]]:
    """Show on a terminal which design is at work and what the last one came to; a pipe hears nothing.

    ``total``: how many designs there will be, None where that is not known.
    """
    with counting(total) as told:
        yield (
            lambda name, result: (
                told(name, 0) if result is None else told(f"{name}  {result.verdict.value}", 1)
            )
        )


def write_run(done: Run, folder: Path) -> str:
    """Write the report and the histories; return what to say of it."""
    from arbsim.files import whole
    from arbsim.history_file import save
    from arbsim.report import write_results

    try:
        paths = write_results(done.results, folder)
        with whole(folder / HISTORY) as file:
            save(done.saved, file)
    except OSError as error:
        raise bad_input(f"{folder}: {error.strerror or 'cannot be written'}") from None
    return told_of(paths)
