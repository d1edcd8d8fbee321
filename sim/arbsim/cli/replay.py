"""``arbsim replay``: one order that a search found, once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.inputs import own_design
from arbsim.cli.output import AsJson, Broken, bad_input, print_out


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A counterexample that arbsim explore wrote.")],
    design: Annotated[
        str | None,
        typer.Option(help="path.py:ClassName, where the design is a class of your own."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a counterexample again, step by step; fail where its order no longer leads there."""
    from arbsim.explore.counterexample import as_text
    from arbsim.explore.order_text import render
    from arbsim.explore.replaying import CounterexampleError, Diverged
    from arbsim.explore.replaying import replay as run_again
    from arbsim.runner import DesignFailed

    own = None if design is None else own_design(design)
    try:
        replayed = run_again(file, own)
    except CounterexampleError as error:
        raise bad_input(str(error)) from None
    except DesignFailed as failure:
        raise bad_input(str(failure)) from failure
    except Diverged as error:
        where = f"step {error.step}" if error.step else "the beginning"
        raise Broken(f"{file} does not lead there any more. At {where}: {error}") from None
    if as_json:
        print_out(as_text(replayed.document).rstrip())
        return
    told = render(replayed.document, replayed.subject.workload)
    print_out(f"{told}\nEvery step and the end are as the file has them.")
