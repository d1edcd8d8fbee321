"""The command line: parse, call, print. Human text is for people; ``--json`` is the interface for programs."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbsim import __version__

if TYPE_CHECKING:
    from arbsim.results import DesignResult, Results
    from arbsim.runner import Run
    from arbsim.scenario import Scenario
    from arbsim.worlds.api import Design

app = typer.Typer(
    name="arbsim",
    help="Shows who arbitrates when two regions write the same key: one workload, many designs, one audit.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)

BAD_INPUT = 2


class BadInput(Exception):
    """Something that the user can mend; the text says what."""


def main() -> None:
    """Run the command line. Exit codes: 2 bad input, 1 an expectation broken, 3 one undecided, 5 our bug."""
    try:
        app()
    except BadInput as problem:
        _print_error(str(problem))
        sys.exit(BAD_INPUT)
    except BrokenPipeError:
        # The reader has gone (a pipe to head): there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"arbsim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


# -- run -----------------------------------------------------------------------------------------------


@app.command()
def run(
    file: Annotated[str, typer.Argument(help="The scenario, or - for standard input.")],
    design: Annotated[
        list[str] | None,
        typer.Option(help="Run this design alone (its name, or path.py:ClassName); can be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the scenario's.", min=0)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes; reports/SCENARIO if absent.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Run a scenario through its designs in virtual time, and judge each."""
    scenario = _load(file, as_json)
    designs = _choose(scenario, design or [])
    done = _run(scenario, designs, file, seed, design or [])
    folder = out if out is not None else Path("reports") / _slug(file, scenario.name)
    paths = _write(done, folder)
    if as_json:
        typer.echo(done.results.model_dump_json(indent=2))
    else:
        _print_results(done.results)
        typer.echo(f"Report: {', '.join(str(path) for path in paths)}")
    if done.results.exit_code:
        if not as_json:
            why = "an expectation is broken" if done.results.exit_code == 1 else "an expectation is undecided"
            typer.echo(f"Exit status {done.results.exit_code}: {why}.")
        raise typer.Exit(done.results.exit_code)


def _load(file: str, as_json: bool) -> Scenario:
    from arbsim.scenario import ScenarioError, load_scenario, render
    from arbsim.worlds.virtual.sql import check_statement

    try:
        scenario = load_scenario(file, check_sql=check_statement)
    except ScenarioError as error:
        if as_json:
            typer.echo(json.dumps(_failure(error), indent=2))
        else:
            typer.echo(render(error.mistakes), err=True)
        raise typer.Exit(BAD_INPUT) from None
    if scenario.warnings:
        typer.echo(render(scenario.warnings), err=True)
    return scenario


def _failure(error: Any) -> dict[str, Any]:
    """What ``--json`` prints for a scenario that cannot be used; the same outer shape as results."""
    mistakes = [
        {
            "code": mistake.code,
            "file": mistake.file,
            "line": mistake.line or None,
            "column": mistake.column or None,
            "message": mistake.message,
            "hint": mistake.hint or None,
        }
        for mistake in error.mistakes
    ]
    return {
        "schema_version": 1,
        "error": {"kind": "bad-input", "mistakes": mistakes},
        "exit_code": BAD_INPUT,
    }


def _choose(scenario: Scenario, names: list[str]) -> dict[str, Design]:
    """The designs to run: all, or the ones named; a path.py:ClassName adds one of the user's own."""
    from arbsim.runner import designs_of
    from arbsim.scenario.mistakes import nearest

    own = {name: _own_design(name) for name in names if ".py:" in name}
    listed = [name for name in names if name not in own]
    try:
        chosen = {} if own and not listed else designs_of(scenario, listed)
    except KeyError as missing:
        known = [entry.name for entry in scenario.designs]
        name = str(missing.args[0])
        raise BadInput(f'the scenario lists no design "{name}"; {nearest(name, known)}') from None
    return {**chosen, **{one.name: one for one in own.values()}}


def _own_design(path: str) -> Design:
    """Load a class from a Python file that was named on the command line."""
    from arbsim.worlds.api import Design

    file, _, name = path.rpartition(":")
    spec = importlib.util.spec_from_file_location("arbsim_own_design", file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise BadInput(f"{file}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadInput(f"{file}: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Design)):
        raise BadInput(f"{file} has no class {name} that is an arbsim.worlds.api.Design")
    design: Design = found()
    return design


def _run(
    scenario: Scenario, designs: dict[str, Design], file: str, seed: int | None, names: list[str]
) -> Run:
    from arbsim.runner import run_scenario
    from arbsim.workload import build_workload

    used = scenario.seed if seed is None else seed
    options = "".join(f" --design {name}" for name in names)
    replay = f"arbsim run {_shown(file)} --seed {used}{options}"
    progress = _progress if sys.stderr.isatty() else _quiet
    return run_scenario(scenario, build_workload(scenario, used), used, designs, replay, progress)


def _shown(file: str) -> str:
    """A scenario's name in the replay line: no folder of this machine."""
    path = Path(file)
    return "scenarios/" + path.name if path.parent.name == "scenarios" else path.name


def _progress(name: str, result: DesignResult | None) -> None:
    from arbsim.scenario.mistakes import shown

    word = "..." if result is None else result.verdict.value
    typer.echo(f"{shown(name)}  {word}", err=True)


def _quiet(name: str, result: DesignResult | None) -> None:
    """A pipe hears nothing until the result."""


def _slug(file: str, name: str) -> str:
    stem = Path(file).stem if file != "-" else name
    return (
        "".join(char if char.isalnum() or char in "-_" else "-" for char in stem.lower()).strip("-") or "run"
    )


def _write(done: Run, folder: Path) -> list[Path]:
    from arbsim.report import write_results

    try:
        return write_results(done.results, folder)
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror or 'cannot be written'}") from None


def _print_results(results: Results) -> None:
    from arbsim.report import console

    typer.echo(console.render(results))


# -- the other commands --------------------------------------------------------------------------------


@app.command()
def designs() -> None:
    """List the shipped designs, with what each claims to prevent."""
    from arbsim.designs import catalogue

    for name, design in catalogue().items():
        claims = ", ".join(kind.value for kind in design.claims) or "nothing"
        typer.echo(f"{name}  ({design.agreement} {'log' if design.family == 'bus' else 'database'})")
        typer.echo(f"    {design.summary}")
        typer.echo(f"    claims to prevent: {claims}" + (f"; cure: {design.cure}" if design.cure else ""))


@app.command()
def schema(
    results: Annotated[bool, typer.Option("--results", help="The schema of results.json instead.")] = False,
) -> None:
    """Print the JSON Schema of scenario files (for editors), or of the results."""
    from arbsim.results import results_schema
    from arbsim.scenario import schema_text

    typer.echo(json.dumps(results_schema(), indent=2) if results else schema_text().rstrip())


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("scenario.yaml"),
) -> None:
    """Write a commented scenario that runs unedited, and its schema beside it."""
    from arbsim.scenario import SCHEMA_FILE, init_template, schema_text

    if file.exists():
        raise BadInput(f"{file} exists already")
    try:
        file.write_text(init_template(file.name), encoding="utf-8")
        (file.parent / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror or 'cannot be written'}") from None
    typer.echo(f"Wrote {file} and {file.parent / SCHEMA_FILE}. Next: arbsim run {file}")


def _print_error(text: str) -> None:
    from arbsim.scenario.mistakes import shown

    typer.echo(f"error: {shown(text)}", err=True)
