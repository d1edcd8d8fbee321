"""arbsim's live path beside bare loops: the same pool or producers, the same statements or records, the same relays.

One region, so that both do the same work: every client stands half a millisecond from the servers. All operations are
asked for at once, and what is compared is how many are done a second. A bare loop has the design's statements or
messages, but no log, no trigger and no names of a run. Who goes first changes from round to round, and the figure is
the median of the rounds' ratios.

By itself, ``python -m benchmarks.live db/serializable 2000 21`` measures one design by so many operations and rounds.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from arbsim.designs import catalogue
from arbsim.designs.database import DECREMENT, OVERWRITE, SELECT, SELECT_FOR_UPDATE, WITHDRAW
from arbsim.model import Fate, Kind, Nanoseconds, Operation, Workload
from arbsim.runner import card_of, settings_of
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.worlds.api import Design
from arbsim.worlds.live.database import DatabaseServer, Sandbox
from arbsim.worlds.live.events import no_pauses
from arbsim.worlds.live.local import local_stack
from arbsim.worlds.live.postgres import installed
from arbsim.worlds.live.servers import Stack
from arbsim.worlds.live.world import run_design
from arbsim.worlds.virtual.settings import Settings
from benchmarks.bare import Bare, Shape, bare_service
from benchmarks.measures import ROOT

SCENARIO = """\
name: live speed
regions: {east: {location: us-east-1}}
database: {dialect: postgres, leader: east, pool_size: 10}
accounts: {1: 100.00}
workload: {operations: [{at: 0 ms, region: east, withdraw: 1.00, account: 1}]}
designs: [db/atomic-update]
"""
POOL = 10
ACCOUNTS = 500
CENTS = 1_000_000_00
AMOUNT = Decimal("0.01")
SCHEMA = "arbsim_bare"
_RUNS = count(1)

Transaction = Callable[[asyncpg.Connection, int], Awaitable[object]]


async def _withdraw(connection: asyncpg.Connection, account: int) -> object:
    return await connection.fetchval(WITHDRAW, AMOUNT, account)


def _read_then(select: str, write: str, absolute: bool) -> Transaction:
    async def transaction(connection: asyncpg.Connection, account: int) -> object:
        balance = await connection.fetchval(select, account)
        return await connection.execute(write, balance - AMOUNT if absolute else AMOUNT, account)

    return transaction


DATABASE: dict[str, tuple[str | None, Transaction]] = {
    "db/atomic-update": ("read_committed", _withdraw),
    "db/atomic-update-autocommit": (None, _withdraw),
    "db/serializable": ("serializable", _withdraw),
    "db/select-for-update": ("read_committed", _read_then(SELECT_FOR_UPDATE, OVERWRITE, absolute=True)),
    "db/select-then-update": ("read_committed", _read_then(SELECT, OVERWRITE, absolute=True)),
    "db/select-then-decrement": ("read_committed", _read_then(SELECT, DECREMENT, absolute=False)),
}
"""The isolation level and the statements of each design; None commits by itself."""

BUS: dict[str, Shape] = {
    "bus/regional-deltas": "decide",
    "bus/regional-snapshots": "decide",
    "bus/shared-table": "table",
    "bus/shared-table-atomic": "table-atomic",
    "bus/single-writer": "transactions",
    "bus/log-fold": "fold",
}


def live(operations: int, rounds: int, only: str = "") -> dict[str, Any]:
    """Ratios of the designs' live paths to their bare loops, of all or of one, and pgbench for the record."""
    scenario = parse_scenario(Source("live speed", SCENARIO), folder=ROOT)
    settings = settings_of(scenario, 1)
    designs = {name: _unthinking(catalogue()[name]()) for name in (*DATABASE, *BUS) if only in ("", name)}
    with local_stack(settings, [design.resources() for design in designs.values()], _say) as stack:
        bench = _Bench(settings, stack, operations, rounds)
        figures: dict[str, Any] = {"database": {}, "bus": {}}
        for name, design in designs.items():
            if name in DATABASE:
                bare = partial(bench.bare_database, *DATABASE[name])
                figures["database"][name] = bench.beside(name, partial(bench.live_path, name, design), bare)
        figures["trigger"] = bench.beside(
            "the trigger alone",
            partial(bench.bare_database, None, _withdraw, watched=True),
            partial(bench.bare_database, None, _withdraw),
        )
        figures["pgbench_atomic_update_per_s"] = bench.pgbench()
        for name, design in designs.items():
            if name in BUS and stack.servers.kafka is not None:
                bare = partial(bench.bare_bus, BUS[name])
                figures["bus"][name] = bench.beside(name, partial(bench.live_path, name, design), bare)
        if stack.servers.no_kafka:
            figures["bus"] = f"not run: {stack.servers.no_kafka}"
    return figures


def _say(what: str) -> None:
    print(f"live: {what}", file=sys.stderr)


def _unthinking(design: Design) -> Design:
    """The design without a pause between reading and writing, which both would only wait for."""
    return replace(design, think_time=Nanoseconds(0)) if hasattr(design, "think_time") else design  # type: ignore[type-var]


@dataclass(frozen=True)
class _Bench:
    """One stack, and how much is asked of it."""

    settings: Settings
    stack: Stack
    operations: int
    rounds: int

    def beside(self, what: str, more: Callable[[], float], bare: Callable[[], float]) -> dict[str, Any]:
        """Run both in turn, the first one changing from round to round; a first round of both does not count."""
        _say(what)
        ratios, ours, theirs = [], [], []
        for number in range(self.rounds + 1):
            if number % 2:
                arbsim_s, bare_s = more(), bare()
            else:
                bare_s, arbsim_s = bare(), more()
            if number:
                ratios.append(bare_s / arbsim_s)
                ours.append(self.operations / arbsim_s)
                theirs.append(self.operations / bare_s)
        return {
            "times_bare": round(statistics.median(ratios), 3),
            "rounds": [round(ratio, 2) for ratio in ratios],
            "operations_per_s": round(statistics.median(ours)),
            "bare_operations_per_s": round(statistics.median(theirs)),
        }

    def live_path(self, name: str, design: Design) -> float:
        """Seconds from the first question to the last answer, through arbsim."""
        workload = Workload(self._operations(), dict.fromkeys(range(1, ACCOUNTS + 1), CENTS))
        run = f"arbsim_bench_{os.getpid()}_{next(_RUNS)}"
        history = run_design(design, card_of(name, design), workload, self.settings, self.stack.servers, run)
        answers = list(history.answers())
        assert all(answer.fate is Fate.ACCEPTED for answer in answers)
        return max(answer.answered_ns for answer in answers) / 1e9

    def _database(self) -> DatabaseServer:
        """The database as the east reaches it."""
        server = self.stack.servers.database_from("east")
        assert server is not None
        return server

    def _operations(self) -> list[Operation]:
        return [
            Operation(number, 0, "east", Kind.WITHDRAW, 1 + number % ACCOUNTS, 1)
            for number in range(1, self.operations + 1)
        ]

    # -- bare loops --------------------------------------------------------------------------------

    def bare_database(
        self, isolation: str | None, transaction: Transaction, *, watched: bool = False
    ) -> float:
        """Seconds for as many transactions through a plain pool; ``watched``: with arbsim's trigger on the table."""
        return asyncio.run(self._bare_database(isolation, transaction, watched))

    async def _bare_database(self, isolation: str | None, transaction: Transaction, watched: bool) -> float:
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(self._bare_pool())
            await self._tables(stack, watched)

            async def once(account: int) -> None:
                async with pool.acquire() as connection:
                    if isolation is None:
                        await transaction(connection, account)
                        return
                    async with connection.transaction(isolation=isolation):
                        await transaction(connection, account)

            async def one(account: int) -> None:
                while True:
                    try:
                        return await once(account)
                    except asyncpg.SerializationError:  # SERIALIZABLE also stops neighbours on a page
                        continue

            await asyncio.gather(*map(one, range(1, POOL + 1)))  # every connection prepares its statements
            operations = self._operations()
            with no_pauses():
                began = time.perf_counter()
                async with asyncio.TaskGroup() as tasks:
                    for op in operations:
                        tasks.create_task(one(op.account))
                return time.perf_counter() - began

    def _bare_pool(self) -> Any:
        server = self._database()
        return asyncpg.create_pool(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            database=server.database,
            min_size=POOL,
            max_size=POOL,
            max_inactive_connection_lifetime=0,
            server_settings={"search_path": SCHEMA},
            reset=_keep,
        )

    async def _tables(self, stack: AsyncExitStack, watched: bool = False) -> None:
        """The scenario's table with its accounts, without arbsim's trigger unless it is to be ``watched``."""
        connection = await self._database().connect()
        stack.push_async_callback(connection.close)
        await connection.execute(
            f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}; SET search_path TO {SCHEMA};"
            f"{self.settings.database.table};"
            "CREATE TABLE done (op_id BIGINT PRIMARY KEY, accepted BOOLEAN NOT NULL);"
            f"INSERT INTO acct (id, balance) SELECT id, {CENTS // 100} FROM generate_series(1, {ACCOUNTS}) AS id;"
            "ANALYZE"
        )
        if watched:
            await Sandbox(connection, SCHEMA).watch()

    def bare_bus(self, shape: Shape) -> float:
        """Seconds for as many requests through plain producers and consumers; the service is a process of its own."""
        servers = self.stack.servers
        assert servers.kafka is not None
        database = self._database()
        bare = Bare(
            shape=shape,
            operations=self._operations(),
            balance=Decimal(CENTS) / 100,
            broker=f"127.0.0.1:{servers.links.port('east', 'Kafka east')}",
            prefix=f"bare-{os.getpid()}-{next(_RUNS)}",
            pool={
                "host": database.host,
                "port": database.port,
                "user": database.user,
                "password": database.password,
                "database": database.database,
                "min_size": 4,
                "max_size": POOL,
                "max_inactive_connection_lifetime": 0,
                "server_settings": {"search_path": SCHEMA},
            },
            session_timeout_ms=self.settings.kafka.rebalance_ns // 1_000_000,
            max_poll_records=self.settings.kafka.max_poll_records,
            fetch_max_wait_ms=self.settings.kafka.fetch_max_wait_ns // 1_000_000,
        )

        async def run() -> float:
            async with AsyncExitStack() as stack:
                await self._tables(stack)
                return await bare_service(bare)

        return asyncio.run(run())

    # -- pgbench -----------------------------------------------------------------------------------

    def pgbench(self) -> float | str:
        """Transactions a second of PostgreSQL's own client in C, over the same relay: no bound, for the record."""
        programs = installed()
        if programs is None or not (programs / "bin" / "pgbench").is_file():
            return "not run: the wheel has no pgbench"
        server = self._database()

        async def prepare() -> None:
            async with AsyncExitStack() as stack:
                await self._tables(stack)

        asyncio.run(prepare())
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "withdraw.sql"
            statement = WITHDRAW.replace("$1", "0.01").replace("$2", ":id")
            script.write_text(f"\\set id random(1, {ACCOUNTS})\nBEGIN;\n{statement};\nCOMMIT;\n", "utf-8")
            told = subprocess.run(
                [
                    programs / "bin" / "pgbench",
                    *("-h", server.host, "-p", str(server.port), "-U", server.user, "-n", "-M", "prepared"),
                    *("-c", str(POOL), "-j", "1", "-t", str(self.operations // POOL), "-f", script),
                    server.database,
                ],
                env={**os.environ, "PGPASSWORD": server.password, "PGOPTIONS": f"-c search_path={SCHEMA}"},
                capture_output=True,
                text=True,
                check=True,
            )
        match = re.search(r"tps = ([0-9.]+)", told.stdout)
        assert match is not None, told.stdout
        return round(float(match[1]))


async def _keep(_: object) -> None:
    """Leave a session as it is, as arbsim's pools do."""


if __name__ == "__main__":
    print(json.dumps(live(int(sys.argv[2]), int(sys.argv[3]), sys.argv[1]), indent=2))
