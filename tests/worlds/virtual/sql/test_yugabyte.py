"""Where YugabyteDB differs from PostgreSQL: restarts inside the server, queues, shared read locks."""

from decimal import Decimal

import pytest

from arbsim.worlds.virtual.sql import Engine, SqlError
from tests.worlds.virtual.sql.support import ACCT, WITHDRAW, Blocked, begin, database, error, ok, rows

LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


def accounts(**options: object) -> Engine:
    return database(
        ACCT, "INSERT INTO acct VALUES (1, 100), (2, 40), (3, 100)", dialect="yugabyte", **options
    )


@pytest.mark.parametrize("level", LEVELS)
def test_a_conflict_in_the_first_statement_never_reaches_the_application(level: str) -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a, level)
    begin(b, level)
    ok(a.execute(WITHDRAW, (70, 1)))
    blocked = Blocked(b.execute(WITHDRAW, (60, 1)))
    ok(a.execute("COMMIT"))
    result = ok(blocked.outcome)
    assert result.rows == []
    assert result.work.waited
    # a serializable read waits for the writer and then reads the newest version: no restart
    assert result.work.server_retries == (0 if level == "SERIALIZABLE" else 1)


def test_a_conflict_in_a_later_statement_is_40001_under_repeatable_read() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(b, "REPEATABLE READ")
    ok(b.execute("SELECT balance FROM acct WHERE id = 1"))
    ok(a.execute(WITHDRAW, (70, 1)))
    assert error(b.execute(WITHDRAW, (10, 1))) == "40001"


def test_read_committed_repeats_the_whole_statement_on_one_new_snapshot() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute("UPDATE acct SET balance = balance - 60 WHERE id = 1"))
    ok(a.execute("UPDATE acct SET balance = balance + 60 WHERE id = 2"))
    blocked = Blocked(
        b.execute("UPDATE acct SET balance = balance - 50 WHERE id >= 1 AND balance >= 90 RETURNING id")
    )
    ok(a.execute("COMMIT"))
    assert ok(blocked.outcome).rows == [(2,), (3,)]  # PostgreSQL re-checks row 1 alone and finds only 3


def test_both_read_then_both_write_is_a_deadlock_that_the_application_sees_under_serializable() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    for session in (a, b):
        begin(session, "SERIALIZABLE")
        ok(session.execute("SELECT balance FROM acct WHERE id = 1"))
    first = Blocked(a.execute(WITHDRAW, (70, 1)))
    second = Blocked(b.execute(WITHDRAW, (60, 1)))
    assert engine.detect_deadlock(second.waiting)
    assert error(second.outcome) == "40P01"
    assert ok(first.outcome).rows == [(Decimal("30.00"),)]


def test_a_deadlock_in_a_first_statement_restarts_inside_the_server() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute("SELECT id FROM acct WHERE id = 2 FOR UPDATE"))
    multi = Blocked(b.execute("UPDATE acct SET balance = balance + 1 WHERE id IN (1, 2)"))
    closing = Blocked(a.execute(WITHDRAW, (70, 1)))
    assert engine.detect_deadlock(multi.waiting)
    assert ok(closing.outcome).rowcount == 1
    ok(a.execute("COMMIT"))
    result = ok(multi.outcome)
    assert result.rowcount == 2
    assert result.work.server_retries >= 1
    assert [row["balance"] for row in engine.table("acct")] == [31, 41, 100]


def test_the_retries_of_the_server_run_out() -> None:
    engine = accounts(max_query_layer_retries=0)
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute(WITHDRAW, (70, 1)))
    blocked = Blocked(b.execute(WITHDRAW, (10, 1)))
    ok(a.execute("COMMIT"))
    assert error(blocked.outcome) == "40001"
    assert isinstance(blocked.outcome, SqlError)
    assert blocked.outcome.message.startswith("All transparent retries exhausted.")


def test_waiters_are_served_by_the_start_of_their_transaction() -> None:
    engine = accounts()
    a, b, c = engine.session("a"), engine.session("b"), engine.session("c")
    begin(b)
    begin(a)
    ok(a.execute(WITHDRAW, (10, 1)))
    late = Blocked(c.execute(WITHDRAW, (50, 1)))
    early = Blocked(b.execute(WITHDRAW, (60, 1)))
    ok(a.execute("COMMIT"))
    assert ok(early.outcome).rows == [(Decimal("30.00"),)]
    ok(b.execute("COMMIT"))
    assert ok(late.outcome).rows == []


def test_without_its_flag_read_committed_is_silently_a_snapshot() -> None:
    engine = accounts(read_committed=False)
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    assert rows(a.execute("SELECT balance FROM acct WHERE id = 1")) == [(Decimal("100.00"),)]
    ok(b.execute(WITHDRAW, (70, 1)))
    assert rows(a.execute("SELECT balance FROM acct WHERE id = 1")) == [(Decimal("100.00"),)]
    assert rows(a.execute("SHOW transaction_isolation")) == [("read committed",)]
    assert error(a.execute(WITHDRAW, (10, 1))) == "40001"


def test_a_serializable_read_keeps_writers_and_phantoms_out_until_it_ends() -> None:
    engine = accounts()
    a, b, c, d = (engine.session(name) for name in "abcd")
    begin(a, "SERIALIZABLE")
    assert rows(a.execute("SELECT sum(balance) FROM acct WHERE id >= 2")) == [(Decimal("140.00"),)]
    ok(c.execute(WITHDRAW, (10, 1)))
    insert = Blocked(b.execute("INSERT INTO acct VALUES (9, 5)"))
    write = Blocked(d.execute(WITHDRAW, (10, 2)))
    assert rows(a.execute("SELECT sum(balance) FROM acct WHERE id >= 2")) == [(Decimal("140.00"),)]
    assert engine.waits_for(insert.waiting) == (a,)
    ok(a.execute("COMMIT"))
    assert ok(insert.outcome).rowcount == 1
    assert ok(write.outcome).rowcount == 1


def test_a_false_predicate_does_not_wait_below_serializable() -> None:
    engine = accounts()
    a, b, c = engine.session("a"), engine.session("b"), engine.session("c")
    begin(a)
    ok(a.execute("UPDATE acct SET balance = balance + 100 WHERE id = 1"))
    assert ok(b.execute(WITHDRAW, (150, 1))).rowcount == 0
    begin(c, "SERIALIZABLE")
    blocked = Blocked(c.execute(WITHDRAW, (150, 1)))
    ok(a.execute("COMMIT"))
    assert ok(blocked.outcome).rows == [(Decimal("50.00"),)]
