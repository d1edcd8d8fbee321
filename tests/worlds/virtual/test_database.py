"""When things happen in the database: which trips a client waits for, and who waits for whom."""

import pytest

from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.designs.atomic_update_autocommit import AtomicUpdateAutocommit
from arbsim.designs.select_for_update import SelectForUpdate
from arbsim.designs.select_then_decrement import SelectThenDecrement
from arbsim.designs.select_then_update import SelectThenUpdate
from arbsim.designs.serializable import Serializable
from arbsim.history import OPENING
from arbsim.model import Accepted, Fate, Operation, Outcome
from arbsim.worlds.api import Region
from tests.worlds.virtual.worlds import MS, fates, latencies_ms, run, withdraw, workload

RACE = workload(withdraw(0, "west", 6000), withdraw(20, "east", 7000))
"""West's statement reaches the leader at 30 ms; east's is there at 20 ms and commits at 60 ms."""

RACE_TO_PRIMARY = workload(withdraw(0, "west", 6000), withdraw(80, "east", 7000))
"""With a PostgreSQL primary west's BEGIN costs a trip too: its statement is there at 90 ms; east commits at 100."""


def test_beside_the_leader_a_transaction_waits_for_two_quorums_of_the_nearest_replica() -> None:
    # The intents and the commit each need the nearest other replica: central, 20 ms away.
    assert latencies_ms(run(AtomicUpdate(), workload(withdraw(0, "east", 100)))) == [40.0]


def test_far_from_the_leader_a_statement_pays_a_read_call_and_a_write_call() -> None:
    # Read call 60, write call 60 and quorum 20, commit call 60 and quorum 20.
    assert latencies_ms(run(AtomicUpdate(), workload(withdraw(0, "west", 100)))) == [220.0]


def test_a_client_that_connects_to_the_leader_pays_a_trip_for_every_round() -> None:
    # BEGIN 60, UPDATE 60 and quorum 20, COMMIT 60 and quorum 20.
    history = run(AtomicUpdate(), workload(withdraw(0, "west", 100)), gateway="leader")
    assert latencies_ms(history) == [220.0]


def test_autocommit_saves_the_commit_trip() -> None:
    # Read call 60, write call 60, two quorums of 20.
    assert latencies_ms(run(AtomicUpdateAutocommit(), workload(withdraw(0, "west", 100)))) == [160.0]


def test_a_postgres_primary_replicates_at_commit_alone() -> None:
    # BEGIN, UPDATE and COMMIT 60 each, and the nearest standby 20.
    history = run(AtomicUpdate(dialect="postgres"), workload(withdraw(0, "west", 100)))
    assert latencies_ms(history) == [200.0]


def test_the_loser_of_two_predicate_updates_waits_and_then_updates_no_row() -> None:
    history = run(AtomicUpdate(), RACE)
    assert fates(history) == ["rejected", "accepted"]
    assert history.finals == {"database": {1: 3000}}
    (wait,) = history.waits()
    assert (wait.operation, wait.blocker) == (1, 2)
    assert (wait.start_ns, wait.end_ns) == (30 * MS, 60 * MS)


def test_the_loser_decided_on_the_balance_that_the_winner_left() -> None:
    history = run(AtomicUpdate(), RACE)
    reads = {read.operation: read for read in history.reads()}
    assert reads[2].effect == OPENING
    assert (reads[1].effect, reads[1].balance_cents) == (0, 3000)


def test_a_postgres_loser_under_serializable_gets_40001_retries_and_then_updates_no_row() -> None:
    history = run(Serializable(dialect="postgres"), RACE_TO_PRIMARY)
    assert fates(history) == ["rejected", "accepted"]
    assert history.answer_of(1).client_retries == 1


def test_a_yugabyte_loser_under_serializable_waits_and_never_sees_an_error() -> None:
    history = run(Serializable(), RACE)
    assert fates(history) == ["rejected", "accepted"]
    assert history.answer_of(1).client_retries == 0
    assert [(wait.operation, wait.blocker) for wait in history.waits()] == [(1, 2)]


@pytest.mark.parametrize("dialect", ["postgres", "yugabyte"])
def test_read_before_write_under_serializable_is_an_error_that_the_client_must_retry(dialect: str) -> None:
    history = run(Serializable(dialect=dialect, select_first=True), RACE)  # type: ignore[arg-type]
    assert sorted(fates(history)) == ["accepted", "rejected"]
    assert sum(answer.client_retries for answer in history.answers()) >= 1


def test_an_absolute_write_after_a_stale_read_loses_an_update() -> None:
    history = run(SelectThenUpdate(), RACE)
    assert fates(history) == ["accepted", "accepted"]
    effects = list(history.effects())
    assert [effect.base for effect in effects] == [OPENING, OPENING]


def test_a_relative_write_after_a_stale_read_is_stopped_by_the_check() -> None:
    history = run(SelectThenDecrement(), RACE)
    assert sorted(fates(history)) == ["accepted", "failed"]
    (loser,) = (answer for answer in history.answers() if answer.fate is Fate.FAILED)
    assert loser.reason == "23514 acct_balance_check"


def test_without_a_check_the_relative_write_overdraws() -> None:
    history = run(SelectThenDecrement(check=False), RACE)
    assert fates(history) == ["accepted", "accepted"]
    assert history.finals == {"database": {1: -3000}}
    assert [effect.base for effect in history.effects()] == [OPENING, 0]


def test_a_row_lock_cures_the_read_before_the_write() -> None:
    history = run(SelectForUpdate(), RACE)
    assert sorted(fates(history)) == ["accepted", "rejected"]


def test_a_full_pool_lends_its_connections_in_order_of_asking() -> None:
    operations = workload(
        *(withdraw(0, "east", 100, account) for account in (1, 2, 3)), opening={1: 100, 2: 100, 3: 100}
    )
    assert latencies_ms(run(AtomicUpdate(), operations, pool_size=1)) == [40.0, 80.0, 120.0]


BOTH_FROM_AFAR = workload(withdraw(0, "west", 6000), withdraw(20, "west", 7000))
"""Both read at the leader before either writes: 30 and 50 ms, then 90 and 110 ms."""


def test_two_serializable_updates_that_both_read_first_deadlock_and_one_restarts_inside_the_server() -> None:
    history = run(Serializable(), BOTH_FROM_AFAR)
    assert sorted(fates(history)) == ["accepted", "rejected"]
    answers = list(history.answers())
    assert [answer.client_retries for answer in answers] == [0, 0]
    assert [answer.server_retries for answer in answers] == [0, 1]  # the younger one gives way


def test_a_yugabyte_deadlock_is_found_by_a_probe_and_a_postgres_one_after_its_timeout() -> None:
    crossing = workload(withdraw(0, "east", 100), withdraw(0, "west", 100))
    for dialect, limit_ms in (("yugabyte", 1000), ("postgres", 3000)):
        history = run(Serializable(dialect=dialect, select_first=True), crossing)  # type: ignore[arg-type]
        assert fates(history) == ["accepted", "accepted"]
        assert max(latencies_ms(history)) < limit_ms


def test_whoever_waits_on_for_the_next_holder_of_a_lock_gets_a_new_deadlock_check_and_loses_the_old_one() -> (
    None
):
    share = "SELECT balance FROM acct WHERE id = 1 FOR SHARE"
    write = "UPDATE acct SET balance = balance - 1 WHERE id = $1"

    class Ring(AtomicUpdate):
        async def attempt(self, op: Operation, region: Region) -> Outcome:
            async with (
                region.database.acquire() as connection,
                connection.transaction(isolation="read_committed"),
            ):
                if op.id == 1:  # holds row 1 until 600 ms
                    await connection.execute(share)
                    await region.sleep(0.6)
                elif op.id == 2:  # holds row 1, too, and from 400 ms waits for the third
                    await connection.execute(share)
                    await region.sleep(0.4)
                    await connection.execute(write, 2)
                else:  # from 100 ms waits for the first, from 600 ms for the second: only now it is a ring
                    await connection.execute(write, 2)
                    await region.sleep(0.1)
                    await connection.execute(write, 1)
            return Accepted()

    three = workload(*[withdraw(0, "east", 100)] * 3, opening={1: 10_000, 2: 10_000})
    history = run(Ring(dialect="postgres", attempts=1), three)
    # The second looks 1000 ms after 400; the third looks 1000 ms after 600, not after 100.
    assert fates(history) == ["accepted", "failed", "accepted"]


def test_a_crowd_under_serializable_gets_through_one_by_one() -> None:
    crowd = workload(*(withdraw(at_ms, "west", 100) for at_ms in range(20)))
    history = run(Serializable(), crowd)
    assert fates(history) == ["accepted"] * 20
    assert max(latencies_ms(history)) < 20_000


def test_a_table_without_a_check_takes_the_fast_path_when_a_row_is_overwritten() -> None:
    class Overwrite(AtomicUpdateAutocommit):
        async def attempt(self, op: Operation, region: Region) -> Outcome:
            await region.database.execute("UPDATE acct SET balance = $1 WHERE id = $2", op.amount, op.account)
            return Accepted()

    # Read call 60 and quorum 20: nothing is read on the way, so one call writes and one quorum commits.
    history = run(Overwrite(check=False), workload(withdraw(0, "west", 100)))
    assert latencies_ms(history) == [80.0]
    assert latencies_ms(run(Overwrite(), workload(withdraw(0, "west", 100)))) == [160.0]
