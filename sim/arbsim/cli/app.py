"""Runs a command, and turns whatever ends it into a text and an exit code."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from arbsim import __version__
from arbsim.cli.output import (
    BAD_INPUT,
    BROKEN,
    INTERNAL,
    INTERRUPTED,
    UNREACHABLE,
    BadInput,
    Broken,
    Unreachable,
    print_out,
    visible,
)

app = typer.Typer(
    name="arbsim",
    help="Shows who arbitrates when two regions write the same key: one workload, many designs, one audit.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

FEW_LOOKS = (5_000, 50, 100)
"""For gc.set_threshold. What is loaded and run stays to the end; Python's default looks for garbage in all of it."""


def main() -> None:
    """Run the command line, and leave with its exit code (README, "Exit codes")."""
    gc.set_threshold(*FEW_LOOKS)
    arguments = sys.argv[1:] or ["--help"]
    with ending_politely():
        code = _run_app(arguments, as_json="--json" in arguments)
    with suppress(OSError):  # what could not be printed has been told, or nobody is left to tell
        sys.stdout.flush()
    sys.exit(code)


@contextmanager
def ending_politely() -> Iterator[None]:
    """Let a polite kill (SIGTERM) end a command as Ctrl-C does: what was made is removed, what was found is told.

    A shell that starts a command in the background has Ctrl-C ignored, and asyncio then leaves it alone, so that a
    kill could end a step of the loop half-way. Hence Ctrl-C is set anew, too.
    """
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    kill = signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kill)
        signal.signal(signal.SIGINT, ctrl_c)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Do what Ctrl-C does at the moment, also while somebody has it ignored so that new processes ignore it."""
    ctrl_c = signal.getsignal(signal.SIGINT)
    (ctrl_c if callable(ctrl_c) else signal.default_int_handler)(signal.SIGINT, frame)


def _run_app(arguments: list[str], as_json: bool) -> int:
    try:
        code: int = app(arguments, prog_name="arbsim", standalone_mode=False) or 0
        # Typer turns Ctrl-C into this code.
        return code if code != INTERRUPTED else _fail("Interrupted.", "interrupted", code, as_json)
    except BadInput as problem:
        return _fail(problem.text, "bad-input", BAD_INPUT, as_json, problem.mistakes)
    except Broken as problem:
        return _fail(f"error: {visible(str(problem))}", "diverged", BROKEN, as_json)
    except Unreachable as problem:
        text = "\n".join(map(visible, str(problem).splitlines()))
        return _fail(f"error: {text}", "unreachable", UNREACHABLE, as_json)
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
    return f"{usage}error: {visible(problem.format_message())}"


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
        print_out(
            Failure(error={"kind": kind, "message": text}, mistakes=rows, exit_code=code).model_dump_json(
                indent=2
            )
        )
    return code


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
