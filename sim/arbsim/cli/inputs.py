"""What a command is given: a scenario, designs by name or by class, and how to write them in a replay line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbsim.cli.output import BadInput, bad_input

if TYPE_CHECKING:
    from arbsim.scenario import Scenario
    from arbsim.worlds.api import Design

ScenarioFile = Annotated[str, typer.Argument(help="The scenario, or - for standard input.")]
Seed = Annotated[int | None, typer.Option(help="Another seed than the scenario's.", min=0)]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Another value for a parameter: kafka.mirror_lag='40 ms'. Can be repeated."),
]


def read_scenario(file: str) -> Scenario:
    """Load a scenario (``-``: from standard input) and print its warnings. Raises BadInput with every mistake."""
    from arbsim.scenario import ScenarioError, load_scenario, render
    from arbsim.worlds.virtual.sql import check_statement

    try:
        scenario = load_scenario(file, check_sql=check_statement)
    except ScenarioError as error:
        raise BadInput(render(error.mistakes), tuple(error.mistakes)) from None
    if scenario.warnings:
        typer.echo(render(scenario.warnings), err=True)
    return scenario


def choose_designs(scenario: Scenario, names: list[str]) -> dict[str, Design]:
    """The designs to run: all, or the ones named; a path.py:ClassName adds one of the user's own to them."""
    from arbsim.runner import designs_of
    from arbsim.scenario.mistakes import nearest

    own = {name: own_design(name) for name in names if ".py:" in name}
    listed = [name for name in names if name not in own]
    try:
        chosen = designs_of(scenario, listed)
    except KeyError as missing:
        known = [entry.name for entry in scenario.designs]
        name = str(missing.args[0])
        raise bad_input(f'the scenario lists no design "{name}"; {nearest(name, known)}') from None
    return {**chosen, **{one.name: one for one in own.values()}}


def choose_design(scenario: Scenario, name: str) -> tuple[str, dict[str, Design]]:
    """All designs of a scenario, and the name by which the one that is asked for is among them."""
    if ".py:" in name:
        own = own_design(name)
        return own.name, {**choose_designs(scenario, []), own.name: own}
    choose_designs(scenario, [name])  # refuses one that is not listed
    return name, choose_designs(scenario, [])


@contextmanager
def own_designs_failing(scenario: Scenario) -> Iterator[None]:
    """Tell the failure of a design that came from the command line as bad input: it is no bug of ours."""
    from arbsim.runner import DesignFailed

    try:
        yield
    except DesignFailed as failure:
        if failure.design in {entry.name for entry in scenario.designs}:
            raise
        raise bad_input(str(failure)) from failure


def own_design(path: str) -> Design:
    """Load a class from a Python file that was named on the command line."""
    from arbsim.own_design import OwnDesignError, load_design

    try:
        return load_design(path)
    except OwnDesignError as error:
        raise bad_input(str(error)) from None


def change_scenario(scenario: Scenario, changes: Sequence[str]) -> Scenario:
    """The scenario with other values, each given as PATH=VALUE."""
    from pydantic_core import PydanticCustomError

    from arbsim.scenario.sweep_check import changed

    if not changes:
        return scenario
    for change in changes:
        if "=" not in change:
            raise bad_input(f'--set "{change}": write it like kafka.mirror_lag="40 ms"')
    pairs = (change.partition("=") for change in changes)
    try:
        return changed(scenario, {path.strip(): text.strip() for path, _, text in pairs})
    except PydanticCustomError as error:
        told = error.context or {}
        hint = f"; {told['hint']}" if told.get("hint") else ""
        raise bad_input(f"--set: {told.get('message', error.message())}{hint}") from None


def replay_line(
    command: str, file: str, seed: int, designs: Sequence[str] = (), changes: Sequence[str] = ()
) -> str:
    """The command that shows the same again. It names no folder of this machine."""
    options = "".join(f" --design {_quoted(_design_place(name))}" for name in designs)
    values = "".join(f" --set {_quoted(change)}" for change in changes)
    return f"arbsim {command} {_quoted(_place(file))} --seed {seed}{values}{options}"


def quoted_place(file: str) -> str:
    """A scenario's name as a replay line has it."""
    return _quoted(_place(file))


def _place(file: str) -> str:
    path = Path(file)
    return "scenarios/" + path.name if path.parent.name == "scenarios" else path.name


def _design_place(name: str) -> str:
    file, separator, class_name = name.rpartition(".py:")
    return f"{_place(file + '.py')}:{class_name}" if separator else name


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def slug(file: str, name: str) -> str:
    """The folder of a scenario's reports: its file's name, or its own name where it came from standard input."""
    stem = Path(file).stem if file != "-" else name
    return (
        "".join(char if char.isalnum() or char in "-_" else "-" for char in stem.lower()).strip("-") or "run"
    )
