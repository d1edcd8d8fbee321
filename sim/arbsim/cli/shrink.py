"""``arbsim shrink``: a violating run made small, and what does not matter to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.explore import OPERATIONS
from arbsim.cli.inputs import (
    Changes,
    ScenarioFile,
    Seed,
    change_scenario,
    choose_design,
    own_designs_failing,
    read_scenario,
    replay_line,
    slug,
)
from arbsim.cli.output import AsJson, bad_input, print_out, visible


@app.command()
def shrink(
    file: ScenarioFile,
    design: Annotated[str, typer.Option(help="The design that breaks; path.py:ClassName is your own.")],
    seed: Seed = None,
    set_: Changes = None,
    operations: Annotated[
        int,
        typer.Option(help="Where the run itself holds: try so many operations in every order.", min=1),
    ] = OPERATIONS,
    out: Annotated[
        Path | None, typer.Option(help="Where the small scenario goes; SCENARIO.DESIGN.yaml if absent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a violating run as small as it can be, write it as a scenario, and tell what does not matter to it."""
    from arbsim.files import whole
    from arbsim.shrinking.run import Asked, NothingToShrink, shrink_run
    from arbsim.shrinking.text import render

    scenario = change_scenario(read_scenario(file), set_ or [])
    name, designs = choose_design(scenario, design)
    own = ".py:" in design
    target = out if out is not None else Path(f"{slug(file, scenario.name)}.{slug(name, name)}.yaml")
    if file != "-" and target.exists() and target.samefile(file):
        raise bad_input(f"{target} is the scenario itself; name another file with --out")

    def replay(any_order: bool) -> str:
        command = "explore" if any_order else "run"
        many = f" --operations {operations}" if any_order and operations != OPERATIONS else ""
        line = replay_line(command, str(target), 0, [design] if own else [])
        return line.replace(" --seed 0", "") + many

    asked = Asked(scenario, scenario.seed if seed is None else seed, name, designs[name], own, operations)
    try:
        with own_designs_failing(scenario), _progress() as told:
            shrunk = shrink_run(asked, replay, told)
    except NothingToShrink as error:
        raise bad_input(str(error)) from None
    try:
        with whole(target) as written:
            written.write(shrunk.scenario)
    except OSError as error:
        raise bad_input(f"{target}: {error.strerror or 'cannot be written'}") from None
    print_out(
        shrunk.model_dump_json(indent=2) if as_json else f"{render(shrunk)}\nScenario: {visible(str(target))}"
    )


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """On a terminal tell how many runs there were; a pipe hears nothing."""
    if not sys.stderr.isatty():
        yield lambda what, runs: None
        return
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text

    with Status("running it once", console=Console(stderr=True)) as status:
        yield lambda what, runs: status.update(Text(f"{what}: {runs:,} runs"))
