"""The database designs on a real PostgreSQL, over links with real delays, judged by the same audit."""

import asyncio

import pytest

from arbsim.designs.active_active import ActiveActive
from arbsim.live import isolation_levels
from arbsim.model import Cents, FindingKind, Verdict
from arbsim.worlds.live.database import CHANGES, Change, Sandbox
from arbsim.worlds.live.servers import why_not
from tests.live.stack import Judge, Live


@pytest.mark.parametrize(
    "name",
    ["db/atomic-update", "db/atomic-update-autocommit", "db/serializable", "db/select-for-update"],
)
def test_a_design_that_lets_the_database_decide_holds(name: str, judge: Judge) -> None:
    result = judge(name)
    assert result.verdict is Verdict.NONE_SEEN
    assert result.outcomes.accepted == 2
    assert result.outcomes.rejected == 2
    assert result.contention.overlapping_pairs >= 1
    assert {balance["database"] for balance in result.final.values()} <= {"30.00", "40.00"}


def test_a_balance_written_over_what_was_read_loses_an_update(judge: Judge) -> None:
    result = judge("db/select-then-update")
    assert result.verdict is Verdict.VIOLATED
    assert result.findings[FindingKind.LOST_UPDATE].count >= 1
    assert result.findings[FindingKind.UNEXPLAINED].count == 0


def test_a_check_in_code_alone_overdraws_and_the_table_s_check_stops_it(judge: Judge) -> None:
    bare = judge("decrement without CHECK")
    assert bare.final["2"] == {"database": "-30.00"}
    assert bare.findings[FindingKind.OVERDRAFT].count >= 1
    checked = judge("db/select-then-decrement")
    assert any("23514" in reason for reason in checked.failures)
    assert not any(finding.count for finding in checked.findings.values())


def test_a_client_waits_at_least_as_long_as_its_round_trips_take(judge: Judge, live: Live) -> None:
    result = judge("db/atomic-update")
    west = next(row for row in result.costs.latency if row.region == "west")
    assert west.fate.p50_ms is not None
    assert west.fate.p50_ms >= 3 * live.settings.round_trip_ns["west", "east"] / 1e6


def test_isolation_levels_are_named_by_what_the_server_did(live: Live) -> None:
    database = live.stack.servers.database
    assert database is not None
    assert asyncio.run(isolation_levels(database)) == {
        "READ COMMITTED in force": "read committed",
        "REPEATABLE READ in force": "snapshot isolation",
        "SERIALIZABLE in force": "serializable, as far as these anomalies show",
    }


def test_two_databases_that_replicate_are_not_run_and_the_reason_is_told(live: Live) -> None:
    reason = why_not(ActiveActive().resources(), live.stack.servers)
    assert reason is not None
    assert "asynchronously" in reason


def test_of_a_rehearsal_nothing_stays_but_what_connections_know(live: Live) -> None:
    """Accounts, changes and a design's own tables are as they were; who changes a row next compiles nothing anew."""
    database = live.stack.servers.database
    assert database is not None
    opening, guests = {1: 10_000, 2: 5_000}, {3: 700, 4: 700}
    made = (
        f"SELECT pg_relation_filenode('acct'), pg_relation_filenode('{CHANGES}'), '{CHANGES}'::regproc::oid"
    )

    async def rehearsed() -> tuple[dict[int, Cents], list[Change], int, bool]:
        here, there = await database.connect(), await database.connect()
        sandbox = Sandbox(here, "arbsim_test_rehearsal")
        try:
            await sandbox.create(
                (live.settings.database.table, "CREATE TABLE done (op_id BIGINT)"), check=True
            )
            await sandbox.watch()
            await sandbox.seed(opening)
            await sandbox.insert(guests)
            await there.execute(f"SET search_path TO {sandbox.schema}")
            known = await there.fetchrow(made)
            await there.execute("UPDATE acct SET balance = 1 WHERE id = 3; INSERT INTO done VALUES (1)")
            assert [change.account for change in await sandbox.changes()] == [3, 4, 3]
            await sandbox.forget(guests)
            same = await there.fetchrow(made) == known
            done = await there.fetchval("SELECT count(*) FROM done")
            return await sandbox.finals(), await sandbox.changes(), done, same
        finally:
            await sandbox.drop()
            await here.close()
            await there.close()

    assert asyncio.run(rehearsed()) == (opening, [], 0, True)
