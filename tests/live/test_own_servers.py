"""``arbsim live`` on servers that people have, for which the session's stack stands: they are left as they were."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from arbsim.history_file import load
from arbsim.model import Fate
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.links import Link, Links
from arbsim.worlds.live.removal import remove
from tests.live.stack import Live

SCENARIO = """\
name: own
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
database: {dialect: postgres, leader: east, pool_size: 4}
accounts: {1: 100.00}
workload:
  operations:
    - {at: 0 ms, region: west, withdraw: 60.00, account: 1}
    - {at: 0 ms, region: east, withdraw: 70.00, account: 1}
    - {at: LAST, region: east, deposit: 1.00, account: 1}
designs: DESIGNS
"""
_OURS = re.compile(r"arbsim_[0-9a-f]{8}")
_PATIENCE_S = 120.0
_POLL_S = 0.4


def database_of(live: Live) -> DatabaseServer:
    """The session's PostgreSQL."""
    database = live.stack.servers.database
    assert database is not None
    return database


IN_THE_BACKGROUND = ["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
"""A shell that starts a command there has Ctrl-C ignored; a kill must work all the same."""


class People:
    """Somebody's servers: how they are reached, and what is on them."""

    def __init__(self, folder: Path, database: DatabaseServer, kafka: Mapping[str, str] | None) -> None:
        self.folder = folder
        self.database = database
        self.kafka = kafka or {}

    def live(self, designs: str, last: str = "5 ms", *options: str) -> subprocess.Popen[str]:
        """Start ``arbsim live`` on them."""
        scenario = self.folder / "own.yaml"
        scenario.write_text(SCENARIO.replace("LAST", last).replace("DESIGNS", designs), encoding="utf-8")
        server = self.database
        where = ["--dsn", f"postgresql://{server.user}@{server.host}:{server.port}/{server.database}"]
        if self.kafka:
            where += ["--kafka", ",".join(f"{region}={place}" for region, place in self.kafka.items())]
        return subprocess.Popen(
            [*IN_THE_BACKGROUND, sys.executable, "-m", "arbsim", "live", str(scenario), *where, *options],
            cwd=self.folder,
            env={**os.environ, "PGPASSWORD": server.password},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def there(self) -> list[str]:
        """What bears the name of an ``arbsim live``, on all servers."""
        return sorted(name for name in asyncio.run(self._names()) if _OURS.search(name))

    async def _names(self) -> list[str]:
        connection = await self.database.connect()
        rows = await connection.fetch(
            "SELECT slot_name::text FROM pg_replication_slots UNION ALL SELECT pubname::text FROM pg_publication"
            " UNION ALL SELECT nspname::text FROM pg_namespace"
        )
        await connection.close()
        names = [row[0] for row in rows]
        for address in self.kafka.values():
            async with Admin(address) as admin:
                names += await admin.list_topics()
        return names

    def streamed(self) -> str:
        """Wait until somebody reads a run's replication slot; return its name, which is the run's."""

        async def active() -> list[str]:
            connection = await self.database.connect()
            rows = await connection.fetch("SELECT slot_name::text FROM pg_replication_slots WHERE active")
            await connection.close()
            return [row[0] for row in rows if _OURS.search(row[0])]

        deadline = time.monotonic() + _PATIENCE_S
        while not (names := asyncio.run(active())):
            assert time.monotonic() < deadline
            select.select([], [], [], _POLL_S)
        return names[0]

    def until(self, enough: Callable[[list[str]], bool]) -> list[str]:
        """Wait for what is there; return it."""
        deadline = time.monotonic() + _PATIENCE_S
        while not enough(there := self.there()):
            assert time.monotonic() < deadline, there
            select.select([], [], [], _POLL_S)
        return there


class Admin:
    """An administrator's client, open while the context lasts."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def __aenter__(self) -> AIOKafkaAdminClient:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=self._address)
        await self._admin.start()
        return self._admin

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()


@pytest.fixture(name="people")
def _people(live: Live, tmp_path: Path) -> People:
    """A database alone."""
    return People(tmp_path, database_of(live), None)


FOREIGN = "arbsim_is_not_ours"
"""What others have; its name begins as ours do."""


@contextmanager
def foreign(people: People) -> Iterator[None]:
    """A table with a row, a slot and a topic of somebody else's, which must all be there at the end."""
    asyncio.run(_make_foreign(people))
    try:
        yield
        assert asyncio.run(_foreign(people)) == ([(1, "theirs")], [FOREIGN], [FOREIGN] * len(people.kafka))
    finally:
        asyncio.run(_drop_foreign(people))


async def _make_foreign(people: People) -> None:
    connection = await people.database.connect()
    await connection.execute(
        f"CREATE SCHEMA {FOREIGN}; CREATE TABLE {FOREIGN}.acct (id INT, owner TEXT);"
        f"INSERT INTO {FOREIGN}.acct VALUES (1, 'theirs')"
    )
    await connection.execute(f"SELECT pg_create_logical_replication_slot('{FOREIGN}', 'pgoutput')")
    await connection.close()
    for address in people.kafka.values():
        async with Admin(address) as admin:
            await admin.create_topics([NewTopic(FOREIGN, 1, 1)])


async def _foreign(people: People) -> tuple[list[tuple[Any, ...]], list[str], list[str]]:
    connection = await people.database.connect()
    rows = await connection.fetch(f"SELECT id, owner FROM {FOREIGN}.acct")
    slots = await connection.fetch("SELECT slot_name::text FROM pg_replication_slots")
    await connection.close()
    topics: list[str] = []
    for address in people.kafka.values():
        async with Admin(address) as admin:
            topics += [topic for topic in await admin.list_topics() if topic == FOREIGN]
    return [tuple(row) for row in rows], [row[0] for row in slots if row[0] == FOREIGN], topics


async def _drop_foreign(people: People) -> None:
    connection = await people.database.connect()
    await connection.execute(f"SELECT pg_drop_replication_slot('{FOREIGN}')")
    await connection.execute(f"DROP SCHEMA {FOREIGN} CASCADE")
    await connection.close()
    for address in people.kafka.values():
        async with Admin(address) as admin:
            await admin.delete_topics([FOREIGN])


def test_one_of_two_runs_is_killed_at_work_and_nothing_of_either_stays(kafka: Live, tmp_path: Path) -> None:
    """The killed one has a replication slot, which would fill the disk; the other goes on to its end."""
    (tmp_path / "killed").mkdir()
    killed = People(tmp_path / "killed", database_of(kafka), kafka.stack.servers.kafka)
    people = People(tmp_path, database_of(kafka), None)
    with foreign(killed):
        one = killed.live("[db/read-model]", "10 min")
        try:
            killed.until(lambda there: any(name.endswith("-mirrored-yb.public.acct") for name in there))
            other = people.live("[db/atomic-update]", "1 s")
            killed.until(lambda there: len(runs_of(there)) == 2)
            wait_for_operations(killed, killed.streamed())
            watcher = watcher_of(one)
        finally:
            one.kill()
            one.communicate()
        out, err = other.communicate(timeout=_PATIENCE_S)
        assert other.returncode == 0, out + err
        until_ended(watcher)
        assert killed.there() == []
    told = json.loads((tmp_path / "reports" / "own_live" / "results.json").read_text(encoding="utf-8"))
    assert told["designs"]["db/atomic-update"]["verdict"] == "none-seen"
    assert told["live"]["own"] is True


def watcher_of(run: subprocess.Popen[str]) -> int:
    """The process that watches a run."""
    for child in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text(encoding="ascii").split():
        if b"arbsim.worlds.live.watcher" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("nobody watches")


def until_ended(pid: int) -> None:
    """Wait for the end of a process that is nobody's child any more; it may stay as a zombie."""
    deadline = time.monotonic() + _PATIENCE_S
    while (state := Path(f"/proc/{pid}/stat")).exists() and ") Z " not in state.read_text(encoding="ascii"):
        assert time.monotonic() < deadline
        select.select([], [], [], _POLL_S)


def runs_of(there: list[str]) -> set[str]:
    """The prefixes of what is there."""
    return {found[0] for name in there if (found := _OURS.search(name))}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_politely_leaves_nothing_and_tells_what_happened(
    how: signal.Signals, people: People
) -> None:
    run = people.live("[db/atomic-update, db/serializable]", "10 min")
    people.until(lambda there: any(name.endswith("_1") for name in there))
    (schema,) = (name for name in people.there() if name.endswith("_1"))
    wait_for_operations(people, schema)
    run.send_signal(how)
    out, err = run.communicate(timeout=_PATIENCE_S)
    assert run.returncode == 130, out + err
    assert people.there() == []
    assert "Interrupted. What happened so far" in err
    told = json.loads((people.folder / "reports" / "own_live" / "results.json").read_text(encoding="utf-8"))
    outcomes = told["designs"]["db/atomic-update"]["outcomes"]
    assert outcomes["accepted"] == 1
    assert sum(outcomes.values()) == 3


def wait_for_operations(people: People, schema: str) -> None:
    """Return once one of the two withdrawals of a run's beginning has changed the balance."""

    async def balance() -> Decimal | None:
        connection = await people.database.connect()
        try:
            found: Decimal | None = await connection.fetchval(
                f"SELECT balance FROM {schema}.acct WHERE id = 1"
            )
        except asyncpg.UndefinedTableError:
            found = None
        await connection.close()
        return found

    deadline = time.monotonic() + _PATIENCE_S
    while asyncio.run(balance()) not in (30, 40):
        assert time.monotonic() < deadline
        select.select([], [], [], _POLL_S)


def test_keep_leaves_what_was_made_and_says_how_it_is_called(people: People) -> None:
    run = people.live("[db/atomic-update]", "5 ms", "--keep")
    _, err = run.communicate(timeout=_PATIENCE_S)
    assert run.returncode == 0, err
    (schema,) = people.there()
    prefix = schema.rpartition("_")[0]
    assert f"what has {prefix} in its name" in err
    assert asyncio.run(remove(prefix, people.database, {}, limit_s=_PATIENCE_S)) == []
    assert people.there() == []


def test_a_server_that_goes_is_named_what_was_judged_is_kept_and_it_is_cleaned_when_it_comes_back(
    people: People, tmp_path: Path
) -> None:
    """The server is behind a relay here, and it is the relay that goes."""
    real = people.database
    with Links([Link("east", "database", real.port, 0)], 1, tmp_path / "relay.log") as way:
        port = way.port("east", "database")
        seen = People(
            tmp_path, DatabaseServer("127.0.0.1", port, real.user, real.database, real.password), None
        )
        run = seen.live("[db/atomic-update, db/serializable]", "8 s")
        there = people.until(lambda there: any(name.endswith("_2") for name in there))
        wait_for_operations(people, next(name for name in there if name.endswith("_2")))
        watcher = watcher_of(run)
        way.stop()
        out, err = run.communicate(timeout=_PATIENCE_S)
    assert run.returncode == 4, out + err
    assert f"127.0.0.1:{port}" in err
    assert real.password not in out + err
    assert "Not yet removed" in err
    told = json.loads((tmp_path / "reports" / "own_live" / "results.json").read_text(encoding="utf-8"))
    assert list(told["designs"]) == ["db/atomic-update", "db/serializable"]
    (why,) = told["designs"]["db/serializable"]["notes"]
    assert why.startswith(f"the run was cut off: the database {real.database} at 127.0.0.1:{port}")
    whole, part = load(tmp_path / "reports" / "own_live" / "history.jsonl").histories
    assert (whole.cut_off, part.cut_off) == (False, True)
    fates = Counter(part.fate(number) or Fate.UNKNOWN for number in (1, 2, 3))
    decided = f"{fates[Fate.ACCEPTED]} accepted, {fates[Fate.REJECTED]} rejected, {fates[Fate.FAILED]} failed"
    assert why.endswith(f"Of its 3 operations: {decided}, {fates[Fate.UNKNOWN]} unknown")
    assert part.fate(3) in (None, Fate.UNKNOWN)
    assert people.there() != []
    with Links([Link("east", "database", real.port, 0, listen=port)], 1, tmp_path / "relay.log"):
        until_ended(watcher)
    assert people.there() == []
