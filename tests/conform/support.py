"""What the tests of conform share: cases in a short notation, and a few answers from a server."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import asyncpg

from arbsim.conform.cases import BadCase, Case, Final, Observed, Step, load_cases
from arbsim.conform.server import Server
from tests.command import run

CASES = Path(__file__).parents[1] / "conformance"
SETUP = ["create table t (id int primary key, v int)", "insert into t values (1, 10), (2, 20)"]


def load(name: str) -> list[Case]:
    cases = load_cases(CASES / name)
    assert not [case for case in cases if isinstance(case, BadCase)]
    return [case for case in cases if isinstance(case, Case)]


def case(*steps: str, id: str = "example", setup: list[str] = SETUP, **more: Any) -> Case:
    """A case of steps written as "A: select 1"; it ends with the table's rows."""
    parsed = [Step(name, sql) for name, _, sql in (step.partition(": ") for step in steps)]
    sessions = list(dict.fromkeys(step.session for step in parsed))
    more.setdefault("final", Final("select * from t order by id"))
    return Case(id, setup, sessions, parsed, **more)


def on_server(dsn: str, *cases: Case, **options: Any) -> list[Observed]:
    async def play() -> list[Observed]:
        async with Server(dsn, **options) as server:
            return [await server.play(one) for one in cases]

    return asyncio.run(play())


def ask(dsn: str, sql: str) -> Any:
    async def fetch() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def schemas_left(dsn: str) -> int:
    return int(ask(dsn, "select count(*) from pg_namespace where nspname like 'arbsim%'"))


def arbsim(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, here."""
    return run(*arguments, cwd=Path())
