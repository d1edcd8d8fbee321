"""``arbsim designs``, ``schema``, ``init`` and ``selftest``: what arbsim has, and whether it can be trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.output import BROKEN, bad_input, print_out


@app.command()
def designs() -> None:
    """List the shipped designs, with what each claims to prevent."""
    from arbsim.designs import catalogue

    for name, design in catalogue().items():
        claims = ", ".join(kind.value for kind in design.claims) or "nothing"
        print_out(f"{name}  ({design.agreement} {'log' if design.family == 'bus' else 'database'})")
        print_out(f"    {design.summary}")
        print_out(f"    claims to prevent: {claims}" + (f"; cure: {design.cure}" if design.cure else ""))


@app.command()
def schema(
    results: Annotated[bool, typer.Option("--results", help="The schema of results.json instead.")] = False,
    exploration: Annotated[
        bool, typer.Option("--exploration", help="The schema of what explore --json prints instead.")
    ] = False,
    counterexample: Annotated[
        bool, typer.Option("--counterexample", help="The schema of a counterexample.json instead.")
    ] = False,
    shrunk: Annotated[
        bool, typer.Option("--shrunk", help="The schema of what shrink --json prints instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of scenario files (for editors), or of a document that a command prints."""
    from arbsim.explore.counterexample import counterexample_schema
    from arbsim.explore.document import exploration_schema
    from arbsim.results import results_schema
    from arbsim.scenario import schema_text
    from arbsim.shrinking.document import shrunk_schema

    asked = {
        results_schema: results,
        exploration_schema: exploration,
        counterexample_schema: counterexample,
        shrunk_schema: shrunk,
    }
    for document, wanted in asked.items():
        if wanted:
            print_out(json.dumps(document(), indent=2))
            return
    print_out(schema_text().rstrip())


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("scenario.yaml"),
) -> None:
    """Write a commented scenario that runs unedited, and its schema beside it."""
    from arbsim.scenario import SCHEMA_FILE, init_template, schema_text

    if file.exists():
        raise bad_input(f"{file} exists already")
    try:
        file.write_text(init_template(file.name), encoding="utf-8")
        (file.parent / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise bad_input(f"{file}: {error.strerror or 'cannot be written'}") from None
    print_out(f"Wrote {file} and {file.parent / SCHEMA_FILE}. Next: arbsim run {file}")


@app.command()
def selftest() -> None:
    """Plant known bugs in histories and in safe designs, and show that each is caught."""
    from arbsim.selftest import Case, run_selftest

    def told(case: Case) -> None:
        found = ", ".join(kind.value for kind in case.found) or "nothing"
        mark = "+ caught " if case.expected else "+ clean  "
        print_out(f"{mark if case.passed else 'x FAILED '} {case.name}")
        print_out(f"           planted: {case.planted}; found: {found}")

    failed = sum(not case.passed for case in run_selftest(told))
    if failed:
        print_out(f"Exit status {BROKEN}: {failed} bugs were not caught, or good histories were blamed.")
        raise typer.Exit(BROKEN)
    print_out("Every planted bug was caught, and nothing else was blamed.")
