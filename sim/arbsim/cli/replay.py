"""``arbsim replay``: one order that a search found, once more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.inputs import own_design
from arbsim.cli.output import AsJson, Broken, bad_input, print_out, visible

if TYPE_CHECKING:
    from arbsim.explore.replaying import Replayed


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A counterexample that arbsim explore wrote.")],
    design: Annotated[
        str | None,
        typer.Option(help="path.py:ClassName, where the design is a class of your own."),
    ] = None,
    pytest: Annotated[
        Path | None, typer.Option(help="Write a pytest file that asserts the violation.", metavar="FILE")
    ] = None,
    psql: Annotated[
        Path | None,
        typer.Option(help="Write a folder of scripts for psql sessions, if it is all SQL.", metavar="DIR"),
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
        if own is None:
            raise
        raise bad_input(str(failure)) from failure
    except Diverged as error:
        where = f"step {error.step}" if error.step else "the beginning"
        raise Broken(f"{file} does not lead there any more. At {where}: {error}") from None
    written = _scripts(replayed, file, design, pytest, psql)
    if as_json:
        print_out(as_text(replayed.document).rstrip())
        return
    told = render(replayed.document, replayed.subject.workload)
    lines = [
        told,
        "Every step and the end are as the file has them.",
        *(f"Wrote {visible(str(one))}" for one in written),
    ]
    print_out("\n".join(lines))


def _scripts(
    replayed: Replayed, saved: Path, own: str | None, pytest: Path | None, psql: Path | None
) -> list[Path]:
    """Write what was asked for; return the files."""
    from arbsim.explore.replaying import CounterexampleError
    from arbsim.explore.scripts import psql_files, pytest_text
    from arbsim.files import whole

    texts: dict[Path, str] = {}
    try:
        if pytest is not None:
            texts[pytest] = pytest_text(replayed.document, saved, pytest, own)
        if psql is not None:
            files = psql_files(replayed.document, replayed.subject)
            texts.update({psql / name: text for name, text in files.items()})
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as file:
                file.write(text)
    except CounterexampleError as error:
        raise bad_input(str(error)) from None
    except OSError as error:
        place = " or ".join(str(one) for one in (pytest, psql) if one is not None)
        raise bad_input(f"{place}: {error.strerror or 'cannot be written'}") from None
    return list(texts)
