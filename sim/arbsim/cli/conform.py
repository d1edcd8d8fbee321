"""``arbsim conform`` and ``verify-db``: cases with known answers, on the virtual database or on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from arbsim.cli.app import app
from arbsim.cli.output import AsJson, Unreachable, bad_input, print_out, visible
from arbsim.cli.progress import counting

if TYPE_CHECKING:
    from arbsim.conform.campaign import FuzzResults
    from arbsim.conform.cases import BadCase, Case
    from arbsim.conform.check import Executor, ServerExecutor
    from arbsim.conform.results import ConformResults
    from arbsim.conform.verify import VerifyResults

T = TypeVar("T")
R = TypeVar("R", "ConformResults", "FuzzResults", "VerifyResults")

Dsn = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="A real server: postgresql://user@host:port/database. The password can stand in PGPASSWORD.",
    ),
]
Embedded = Annotated[
    bool, typer.Option("--embedded", help="Start a throw-away PostgreSQL (pip install 'arbsim[live]').")
]
BlockedAfter = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0.01,
        help="On a server that does not tell its locks (YugabyteDB): silent for so long means blocked.",
    ),
]


@app.command()
def conform(
    file: Annotated[
        Path | None, typer.Argument(metavar="[CASES]", help="A file of cases: .json or .jsonl.")
    ] = None,
    dsn: Dsn = None,
    embedded: Embedded = False,
    all_orders: Annotated[
        bool,
        typer.Option(
            "--all-orders", help="List the outcomes of every order of a case's statements (up to 8)."
        ),
    ] = False,
    fuzz: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Instead of cases: N random schedules, on the model and the server."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the random schedules.")] = 1,
    blocked_after: BlockedAfter = 1.0,
    as_json: AsJson = False,
) -> None:
    """Run cases with known answers on the virtual database, or on a real server, and compare every answer."""
    if (file is None) == (fuzz is None):
        raise bad_input("either a file of cases or --fuzz N is needed" + (", not both" if file else ""))
    if fuzz is not None:
        _fuzz(dsn, embedded, fuzz, seed, all_orders, as_json)
        return
    from arbsim.conform.render import render

    assert file is not None
    cases = _read(file)
    if dsn is None and not embedded:
        results = _run(_on_model(cases, all_orders))
    else:
        with _server_address(dsn, embedded) as address:
            results = _run(_on_server(cases, address, all_orders, blocked_after))
    _conclude(results, render, as_json)


def _fuzz(dsn: str | None, embedded: bool, count: int, seed: int, all_orders: bool, as_json: bool) -> None:
    from arbsim.conform.campaign import campaign, render

    if all_orders:
        raise bad_input("--all-orders is for a file of cases; --fuzz draws the order of the statements")
    with _server_address(dsn, embedded) as address, counting(count, "schedules") as told:
        results = _run(campaign(address, seed, count, lambda one: told(one.level, 1)))
    _conclude(results, render, as_json)


@app.command("verify-db")
def verify_db(
    dsn: Dsn = None, embedded: Embedded = False, blocked_after: BlockedAfter = 1.0, as_json: AsJson = False
) -> None:
    """Tell which isolation a server really gives for each level: ten anomalies, claimed beside observed."""
    from arbsim.conform.verify import render

    with _server_address(dsn, embedded) as address:
        results = _run(_verify(address, blocked_after))
    _conclude(results, render, as_json)


async def _verify(dsn: str, blocked_after_s: float) -> VerifyResults:
    from arbsim.conform.cases import LEVELS
    from arbsim.conform.probes import PROBES
    from arbsim.conform.verify import verify

    async with _connected(dsn, blocked_after_s) as executor:
        with counting(len(LEVELS) * len(PROBES), "probes") as told:
            yugabyte = executor.server.facts.yugabyte
            return await verify(executor.target, yugabyte, executor.play, lambda probe: told(probe, 1))


def _read(file: Path) -> list[Case | BadCase]:
    from arbsim.conform.cases import CaseFileError, load_cases

    try:
        return load_cases(file)
    except CaseFileError as error:
        raise bad_input(str(error)) from None


def _conclude(results: R, render: Callable[[R], str], as_json: bool) -> None:
    """Print the results, and leave with their exit code."""
    if as_json:
        print_out(results.model_dump_json(indent=2))
    else:
        print_out("\n".join(map(visible, render(results).split("\n"))))
    if results.exit_code:
        raise typer.Exit(results.exit_code)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. Ctrl-C cancels the work, which then tidies up after itself."""
    import asyncio  # not above: it costs other commands a tenth of their start

    from arbsim.conform.model import NotPlayable
    from arbsim.conform.server import ServerUnreachable

    try:
        return asyncio.run(work)
    except ServerUnreachable as error:
        raise Unreachable(str(error)) from None
    except NotPlayable as error:
        raise bad_input(str(error)) from None


@contextmanager
def _server_address(dsn: str | None, embedded: bool) -> Iterator[str]:
    """The URL of the server that the options name; a throw-away one lives as long as the context."""
    if dsn is not None and embedded:
        raise bad_input("--dsn and --embedded exclude each other: one server at a time")
    if dsn is not None:
        yield dsn
        return
    if not embedded:
        raise bad_input("a real server is needed: --dsn URL, or --embedded")
    from arbsim.worlds.live.postgres import EmbeddedPostgres, PostgresUnavailable

    try:
        server = EmbeddedPostgres({"log_min_messages": "fatal"})  # most errors here are answers
        server.start()
    except PostgresUnavailable as error:
        raise Unreachable(str(error)) from None
    with server:
        yield server.dsn


@asynccontextmanager
async def _connected(dsn: str, blocked_after_s: float) -> AsyncIterator[ServerExecutor]:
    from arbsim.conform.check import ServerExecutor
    from arbsim.conform.server import Server

    async with Server(dsn, blocked_after_s=blocked_after_s) as server:
        yield ServerExecutor(server)


async def _on_server(
    cases: list[Case | BadCase], dsn: str, all_orders: bool, blocked_after_s: float
) -> ConformResults:
    async with _connected(dsn, blocked_after_s) as executor:
        return await _checked(cases, executor, all_orders)


async def _on_model(cases: list[Case | BadCase], all_orders: bool) -> ConformResults:
    from arbsim.conform.check import ModelExecutor

    return await _checked(cases, ModelExecutor(), all_orders)


async def _checked(cases: list[Case | BadCase], executor: Executor, all_orders: bool) -> ConformResults:
    from arbsim.conform.check import check_cases

    with counting(len(cases), "cases") as told:
        return await check_cases(cases, executor, all_orders=all_orders, told=lambda case: told(case.id, 1))
