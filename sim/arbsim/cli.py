"""The command line: parse, call, print. Human text is for people; ``--json`` is the interface for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

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
)

BROKEN, BAD_INPUT, UNDECIDED, INTERNAL, INTERRUPTED = 1, 2, 3, 5, 130

HISTORY = "history.jsonl"

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


class BadInput(Exception):
    """Something that the user can mend. ``mistakes`` are those of a scenario; ``text`` tells all of it."""

    def __init__(self, text: str, mistakes: tuple[Any, ...] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.mistakes = mistakes


def main() -> None:
    """Run the command line, and leave with its exit code (README, "Exit codes")."""
    arguments = sys.argv[1:] or ["--help"]
    code = _run_app(arguments, as_json="--json" in arguments)
    with suppress(OSError):  # what could not be printed has been told, or nobody is left to tell
        sys.stdout.flush()
    sys.exit(code)


def _run_app(arguments: list[str], as_json: bool) -> int:
    try:
        code: int = app(arguments, prog_name="arbsim", standalone_mode=False) or 0
        # Typer turns Ctrl-C into this code.
        return code if code != INTERRUPTED else _fail("Interrupted.", "interrupted", code, as_json)
    except BadInput as problem:
        return _fail(problem.text, "bad-input", BAD_INPUT, as_json, problem.mistakes)
    except TyperException as usage:
        return _fail(_usage(usage), "usage", BAD_INPUT, as_json)
    except Exception as error:
        import traceback

        typer.echo(traceback.format_exc(), err=True)
        text = f"error: {type(error).__name__}: a bug in arbsim; please report it with the lines above."
        return _fail(text, "internal", INTERNAL, as_json)


def _usage(problem: TyperException) -> str:
    context = getattr(problem, "ctx", None)
    usage = f"{context.get_usage()}\n" if context is not None else ""
    return f"{usage}error: {_shown(problem.format_message())}"


def _fail(text: str, kind: str, code: int, as_json: bool, mistakes: tuple[Any, ...] = ()) -> int:
    """Tell an error: to people on stderr, to programs as a document on stdout. Return the exit code."""
    typer.echo(text, err=True)
    if as_json:
        from arbsim.results import Failure, InputMistake

        rows = tuple(
            InputMistake(
                code=mistake.code,
                file=mistake.file,
                line=mistake.line or None,
                column=mistake.column or None,
                message=mistake.message,
                hint=mistake.hint or None,
            )
            for mistake in mistakes
        )
        _print(
            Failure(error={"kind": kind, "message": text}, mistakes=rows, exit_code=code).model_dump_json(
                indent=2
            )
        )
    return code


def _print(text: str) -> None:
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


def _shown(text: str) -> str:
    """Text of the user's, with what a terminal would act on made visible."""
    from arbsim.scenario.mistakes import shown

    return shown(text)


def _bad(text: str) -> BadInput:
    return BadInput(f"error: {_shown(text)}")


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
        typer.Option(help="Run this design alone; path.py:ClassName adds one of your own. Can be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the scenario's.", min=0)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes; reports/SCENARIO if absent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a scenario through its designs in virtual time, and judge each."""
    scenario = _load(file)
    designs = _choose(scenario, design or [])
    done = _run(scenario, designs, file, seed, design or [])
    folder = out if out is not None else Path("reports") / _slug(file, scenario.name)
    report = _write(done, folder)
    _conclude(done.results, as_json, report)


def _conclude(results: Results, as_json: bool, report: str | None) -> None:
    """Print the results; leave with 1 where an expectation is broken, with 3 where one is undecided."""
    if as_json:
        _print(results.model_dump_json(indent=2))
    else:
        from arbsim.report import console

        lines = [console.render(results)]
        if report is not None:
            lines.append(f"Report: {report}")
        if results.exit_code:
            what = "broken" if results.exit_code == BROKEN else "undecided"
            lines.append(f"Exit status {results.exit_code}: an expectation is {what}.")
        _print("\n".join(lines))
    if results.exit_code:
        raise typer.Exit(results.exit_code)


def _load(file: str) -> Scenario:
    from arbsim.scenario import ScenarioError, load_scenario, render
    from arbsim.worlds.virtual.sql import check_statement

    try:
        scenario = load_scenario(file, check_sql=check_statement)
    except ScenarioError as error:
        raise BadInput(render(error.mistakes), tuple(error.mistakes)) from None
    if scenario.warnings:
        typer.echo(render(scenario.warnings), err=True)
    return scenario


def _choose(scenario: Scenario, names: list[str]) -> dict[str, Design]:
    """The designs to run: all, or the ones named; a path.py:ClassName adds one of the user's own to them."""
    from arbsim.runner import designs_of
    from arbsim.scenario.mistakes import nearest

    own = {name: _own_design(name) for name in names if ".py:" in name}
    listed = [name for name in names if name not in own]
    try:
        chosen = designs_of(scenario, listed)
    except KeyError as missing:
        known = [entry.name for entry in scenario.designs]
        name = str(missing.args[0])
        raise _bad(f'the scenario lists no design "{name}"; {nearest(name, known)}') from None
    return {**chosen, **{one.name: one for one in own.values()}}


def _own_design(path: str) -> Design:
    """Load a class from a Python file that was named on the command line."""
    from arbsim.own_design import OwnDesignError, load_design

    try:
        return load_design(path)
    except OwnDesignError as error:
        raise _bad(str(error)) from None


def _run(
    scenario: Scenario, designs: dict[str, Design], file: str, seed: int | None, names: list[str]
) -> Run:
    from arbsim.runner import DesignFailed, run_scenario
    from arbsim.workload import build_workload

    used = scenario.seed if seed is None else seed
    options = "".join(f" --design {_quoted(_design_place(name))}" for name in names)
    replay = f"arbsim run {_quoted(_place(file))} --seed {used}{options}"
    listed = {entry.name for entry in scenario.designs}
    try:
        with _progress(len(designs)) as told:
            return run_scenario(scenario, build_workload(scenario, used), used, designs, replay, told)
    except DesignFailed as failure:
        if failure.design in listed:
            raise
        raise _bad(str(failure)) from failure


def _place(file: str) -> str:
    """A scenario's name in the replay line: no folder of this machine."""
    path = Path(file)
    return "scenarios/" + path.name if path.parent.name == "scenarios" else path.name


def _design_place(name: str) -> str:
    file, separator, class_name = name.rpartition(".py:")
    return f"{_place(file + '.py')}:{class_name}" if separator else name


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str, DesignResult | None], None]]:
    """Show on a terminal which design is at work and what the last one came to; a pipe hears nothing."""
    if not sys.stderr.isatty():
        yield lambda name, result: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)

        def told(name: str, result: DesignResult | None) -> None:
            words = escape(_shown(name)) + ("" if result is None else f"  {result.verdict.value}")
            progress.update(task, description=words, advance=0 if result is None else 1)

        yield told


def _slug(file: str, name: str) -> str:
    stem = Path(file).stem if file != "-" else name
    return (
        "".join(char if char.isalnum() or char in "-_" else "-" for char in stem.lower()).strip("-") or "run"
    )


def _write(done: Run, folder: Path) -> str:
    """Write the report and the histories; return what to say of it."""
    from arbsim.files import whole
    from arbsim.history_file import save
    from arbsim.report import write_results

    try:
        paths = write_results(done.results, folder)
        with whole(folder / HISTORY) as file:
            save(done.saved, file)
    except OSError as error:
        raise _bad(f"{folder}: {error.strerror or 'cannot be written'}") from None
    return _told(paths)


def _told(paths: list[Path]) -> str:
    page = paths[-1]
    return f"{_shown(str(page))} ({max(1, page.stat().st_size // 1000)} kB)"


# -- the other commands --------------------------------------------------------------------------------


@app.command()
def audit(
    history: Annotated[Path, typer.Argument(help="A history.jsonl that arbsim run wrote.")],
    as_json: AsJson = False,
) -> None:
    """Judge a saved history again. Nothing is run, nothing is written."""
    from arbsim.history_file import HistoryError, load
    from arbsim.runner import judge_again

    try:
        saved = load(history)
    except HistoryError as error:
        raise _bad(str(error)) from None
    _conclude(judge_again(saved), as_json, None)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder with a results.json that arbsim run wrote.")],
) -> None:
    """Render a report again from its results.json. Nothing is run."""
    from arbsim.report import ReportError, load_results, write_results

    try:
        paths = write_results(load_results(folder), folder)
    except ReportError as error:
        raise _bad(str(error)) from None
    except OSError as error:
        raise _bad(f"{folder}: {error.strerror or 'cannot be written'}") from None
    _print(f"Report: {_told(paths)}")


@app.command()
def selftest() -> None:
    """Plant known bugs in histories and in safe designs, and show that each is caught."""
    from arbsim.selftest import Case, run_selftest

    def told(case: Case) -> None:
        found = ", ".join(kind.value for kind in case.found) or "nothing"
        mark = "+ caught " if case.expected else "+ clean  "
        _print(f"{mark if case.passed else 'x FAILED '} {case.name}")
        _print(f"           planted: {case.planted}; found: {found}")

    failed = sum(not case.passed for case in run_selftest(told))
    if failed:
        _print(f"Exit status {BROKEN}: {failed} bugs were not caught, or good histories were blamed.")
        raise typer.Exit(BROKEN)
    _print("Every planted bug was caught, and nothing else was blamed.")


@app.command()
def designs() -> None:
    """List the shipped designs, with what each claims to prevent."""
    from arbsim.designs import catalogue

    for name, design in catalogue().items():
        claims = ", ".join(kind.value for kind in design.claims) or "nothing"
        _print(f"{name}  ({design.agreement} {'log' if design.family == 'bus' else 'database'})")
        _print(f"    {design.summary}")
        _print(f"    claims to prevent: {claims}" + (f"; cure: {design.cure}" if design.cure else ""))


@app.command()
def schema(
    results: Annotated[bool, typer.Option("--results", help="The schema of results.json instead.")] = False,
) -> None:
    """Print the JSON Schema of scenario files (for editors), or of the results."""
    from arbsim.results import results_schema
    from arbsim.scenario import schema_text

    _print(json.dumps(results_schema(), indent=2) if results else schema_text().rstrip())


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("scenario.yaml"),
) -> None:
    """Write a commented scenario that runs unedited, and its schema beside it."""
    from arbsim.scenario import SCHEMA_FILE, init_template, schema_text

    if file.exists():
        raise _bad(f"{file} exists already")
    try:
        file.write_text(init_template(file.name), encoding="utf-8")
        (file.parent / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise _bad(f"{file}: {error.strerror or 'cannot be written'}") from None
    _print(f"Wrote {file} and {file.parent / SCHEMA_FILE}. Next: arbsim run {file}")
