"""What transactions see and how they wait, beyond the recorded cases."""

from decimal import Decimal

import pytest

from arbsim.worlds.virtual.sql import Engine, Result, Waiting
from tests.worlds.virtual.sql.support import ACCT, PLAIN, WITHDRAW, Blocked, begin, database, error, ok, rows


def accounts() -> Engine:
    return database(ACCT, "INSERT INTO acct VALUES (1, 100), (2, 100)")


def test_a_predicate_that_is_false_on_the_snapshot_does_not_wait() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute("UPDATE acct SET balance = balance + 100 WHERE id = 1"))
    assert ok(b.execute(WITHDRAW, (150, 1))).rowcount == 0


def test_a_wait_that_ends_in_no_row_keeps_the_row_locked() -> None:
    engine = accounts()
    a, b, c = engine.session("a"), engine.session("b"), engine.session("c")
    begin(a)
    begin(b)
    ok(a.execute(WITHDRAW, (70, 1)))
    blocked = Blocked(b.execute(WITHDRAW, (60, 1)))
    ok(a.execute("COMMIT"))
    assert ok(blocked.outcome).rowcount == 0
    waiting = Blocked(c.execute(WITHDRAW, (10, 1)))
    ok(b.execute("COMMIT"))
    assert ok(waiting.outcome).rows == [(Decimal("20.00"),)]


def test_an_error_frees_the_locks_before_the_client_rolls_back() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute(WITHDRAW, (70, 1)))
    blocked = Blocked(b.execute(WITHDRAW, (60, 1)))
    assert error(a.execute("SELECT 1/0")) == "22012"
    assert ok(blocked.outcome).rows == [(Decimal("40.00"),)]
    assert error(a.execute("SELECT 1")) == "25P02"
    assert ok(a.execute("COMMIT")).tag == "ROLLBACK"


def test_a_failed_transaction_answers_rollback_and_leaves_the_session_usable() -> None:
    session = accounts().session()
    begin(session)
    error(session.execute("SELECT nothing"))
    states = [session.in_transaction]
    assert ok(session.execute("ROLLBACK")).tag == "ROLLBACK"
    assert [*states, session.in_transaction] == [True, False]
    assert ok(session.execute("COMMIT")).tag == "COMMIT"


CONFLICTING = {
    "UPDATE": {"UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"},
    "NO KEY UPDATE": {"UPDATE", "NO KEY UPDATE", "SHARE"},
    "SHARE": {"UPDATE", "NO KEY UPDATE"},
    "KEY SHARE": {"UPDATE"},
}


@pytest.mark.parametrize("held", CONFLICTING)
@pytest.mark.parametrize("wanted", CONFLICTING)
def test_row_locks_conflict_as_in_the_manual(held: str, wanted: str) -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute(f"SELECT * FROM acct WHERE id = 1 FOR {held}"))
    conflict = wanted in CONFLICTING[held]
    if conflict:
        assert error(b.execute(f"SELECT * FROM acct WHERE id = 1 FOR {wanted} NOWAIT")) == "55P03"
    skipped = rows(b.execute(f"SELECT id FROM acct ORDER BY id FOR {wanted} SKIP LOCKED"))
    assert skipped == ([(2,)] if conflict else [(1,), (2,)])
    outcome = b.execute(f"SELECT id FROM acct WHERE id = 1 FOR {wanted}")
    assert isinstance(outcome, Waiting) == conflict


def test_an_update_of_other_columns_lets_key_share_pass_and_a_delete_does_not() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute("UPDATE acct SET balance = 1 WHERE id = 1"))
    assert rows(b.execute("SELECT balance FROM acct WHERE id = 1 FOR KEY SHARE")) == [(Decimal("100.00"),)]
    ok(a.execute("DELETE FROM acct WHERE id = 2"))
    blocked = Blocked(b.execute("SELECT balance FROM acct WHERE id = 2 FOR KEY SHARE"))
    ok(a.execute("ROLLBACK"))
    assert ok(blocked.outcome).rowcount == 1


def test_the_locks_limit_counts_rows_after_the_wait() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute("DELETE FROM acct WHERE id = 1"))
    blocked = Blocked(b.execute("SELECT id FROM acct WHERE id >= 1 ORDER BY id LIMIT 1 FOR UPDATE"))
    ok(a.execute("COMMIT"))
    assert ok(blocked.outcome).rows == [(2,)]


def test_the_transaction_that_closes_the_cycle_is_the_victim() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    begin(b)
    ok(a.execute(WITHDRAW, (10, 1)))
    ok(b.execute(WITHDRAW, (10, 2)))
    first = Blocked(a.execute(WITHDRAW, (10, 2)))
    assert not engine.detect_deadlock(first.waiting)
    assert engine.waits_for(first.waiting) == (b,)
    second = Blocked(b.execute(WITHDRAW, (10, 1)))
    assert engine.detect_deadlock(second.waiting)
    assert error(second.outcome) == "40P01"
    assert ok(first.outcome).rowcount == 1
    assert engine.waits_for(first.waiting) == ()
    assert not engine.detect_deadlock(first.waiting)


def test_each_wait_of_one_statement_is_announced_so_that_it_can_be_checked_for_deadlock() -> None:
    engine = database(PLAIN, "INSERT INTO t VALUES (1, 0), (2, 0)")
    seen: list[Waiting] = []
    engine.on_wait.append(seen.append)
    a, b, c = engine.session("a"), engine.session("b"), engine.session("c")
    for session, row in ((a, 1), (c, 2)):
        begin(session)
        ok(session.execute(f"UPDATE t SET v = 1 WHERE id = {row}"))
    begin(b)
    blocked = Blocked(b.execute("UPDATE t SET v = 2 WHERE id >= 1"))
    ok(a.execute("COMMIT"))
    assert seen == [blocked.waiting] * 2
    assert engine.waits_for(blocked.waiting) == (c,)


def test_a_cancelled_wait_ends_its_statement_and_lets_the_next_in_line_go() -> None:
    engine = accounts()
    a, b, c = engine.session("a"), engine.session("b"), engine.session("c")
    begin(a)
    ok(a.execute("SELECT * FROM acct WHERE id = 1 FOR SHARE"))
    writer = Blocked(b.execute(WITHDRAW, (10, 1)))
    behind = Blocked(c.execute("SELECT id FROM acct WHERE id = 1 FOR NO KEY UPDATE"))
    writer.waiting.cancel()
    assert error(writer.outcome) == "57014"
    assert engine.waits_for(behind.waiting) == (a,)
    a.close()
    assert ok(behind.outcome).rowcount == 1
    writer.waiting.cancel()  # too late: nothing happens


def test_closing_a_session_rolls_back_and_frees_its_locks() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute("DELETE FROM acct WHERE id = 1"))
    blocked = Blocked(b.execute(WITHDRAW, (10, 1)))
    a.close()
    assert ok(blocked.outcome).rows == [(Decimal("90.00"),)]


def test_an_insert_waits_for_the_transaction_that_holds_its_key() -> None:
    engine = database(PLAIN)
    a, b, c = engine.session("a"), engine.session("b"), engine.session("c")
    begin(a)
    ok(a.execute("INSERT INTO t VALUES (1, 1)"))
    plain = Blocked(b.execute("INSERT INTO t VALUES (1, 2)"))
    lenient = Blocked(c.execute("INSERT INTO t VALUES (1, 3) ON CONFLICT DO NOTHING"))
    ok(a.execute("COMMIT"))
    assert error(plain.outcome) == "23505"
    assert ok(lenient.outcome).tag == "INSERT 0 0"


def test_an_insert_goes_on_when_the_holder_of_its_key_rolls_back() -> None:
    engine = database(PLAIN)
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute("INSERT INTO t VALUES (1, 1)"))
    blocked = Blocked(b.execute("INSERT INTO t VALUES (1, 2) RETURNING v"))
    ok(a.execute("ROLLBACK"))
    assert ok(blocked.outcome).rows == [(2,)]
    assert engine.table("t") == [{"id": 1, "v": 2}]


def test_repeatable_read_can_see_two_rows_with_one_key() -> None:
    engine = database(PLAIN, "INSERT INTO t VALUES (1, 10)")
    a, b = engine.session("a"), engine.session("b")
    begin(a, "REPEATABLE READ")
    assert rows(a.execute("SELECT * FROM t")) == [(1, 10)]
    ok(b.execute("DELETE FROM t"))
    ok(a.execute("INSERT INTO t VALUES (1, 11)"))
    assert rows(a.execute("SELECT * FROM t")) == [(1, 10), (1, 11)]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_do_nothing_fails_on_a_row_newer_than_the_snapshot(level: str) -> None:
    engine = database(PLAIN)
    a, b = engine.session("a"), engine.session("b")
    begin(a, level)
    ok(a.execute("SELECT * FROM t"))
    ok(b.execute("INSERT INTO t VALUES (1, 1)"))
    assert error(a.execute("INSERT INTO t VALUES (1, 2) ON CONFLICT DO NOTHING")) == "40001"


def test_savepoints_take_back_writes_and_locks() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute(WITHDRAW, (10, 1)))
    ok(a.execute("SAVEPOINT s"))
    ok(a.execute(WITHDRAW, (10, 2)))
    blocked = Blocked(b.execute(WITHDRAW, (50, 2)))
    assert error(a.execute("SELECT 1/0")) == "22012"
    assert ok(blocked.outcome).rows == [(Decimal("50.00"),)]
    assert error(a.execute("SELECT 1")) == "25P02"
    assert ok(a.execute("ROLLBACK TO SAVEPOINT s")).tag == "ROLLBACK"
    assert rows(a.execute("SELECT id, balance FROM acct ORDER BY id")) == [
        (1, Decimal("90.00")),
        (2, Decimal("50.00")),
    ]
    assert ok(a.execute("RELEASE s")).tag == "RELEASE"
    assert error(a.execute("ROLLBACK TO s")) == "3B001"


def test_an_insert_goes_on_when_its_key_is_taken_back_to_a_savepoint() -> None:
    engine = database(PLAIN)
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute("SAVEPOINT s"))
    ok(a.execute("INSERT INTO t VALUES (1, 1)"))
    blocked = Blocked(b.execute("INSERT INTO t VALUES (1, 2)"))
    ok(a.execute("ROLLBACK TO s"))
    assert ok(blocked.outcome).rowcount == 1
    assert error(a.execute("INSERT INTO t VALUES (1, 3)")) == "23505"


def test_the_level_is_set_at_begin_or_before_the_first_query() -> None:
    session = accounts().session()
    assert rows(session.execute("SHOW transaction_isolation")) == [("read committed",)]
    ok(session.execute("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    assert session.isolation == "repeatable read"
    ok(session.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
    assert rows(session.execute("SHOW TRANSACTION ISOLATION LEVEL")) == [("serializable",)]
    assert error(session.execute("DELETE FROM acct")) == "25006"
    ok(session.execute("ABORT"))
    ok(session.execute("BEGIN"))
    ok(session.execute("SELECT 1"))
    assert error(session.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")) == "25001"


def test_a_callback_may_execute_the_next_statement() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    answers: list[object] = []
    begin(a)
    begin(b)
    ok(a.execute(WITHDRAW, (70, 1)))

    def go_on(outcome: object) -> None:
        assert isinstance(outcome, Result)
        answers.append(b.execute("COMMIT"))

    waiting = b.execute(WITHDRAW, (30, 1))
    assert isinstance(waiting, Waiting)
    waiting.then(go_on)
    ok(a.execute("COMMIT"))
    assert [answer.tag for answer in answers if isinstance(answer, Result)] == ["COMMIT"]
    assert engine.table("acct")[0]["balance"] == 0


def test_a_session_that_waits_takes_no_other_statement() -> None:
    engine = accounts()
    a, b = engine.session("a"), engine.session("b")
    begin(a)
    ok(a.execute(WITHDRAW, (70, 1)))
    Blocked(b.execute(WITHDRAW, (30, 1)))
    with pytest.raises(RuntimeError, match="already waits"):
        b.execute("SELECT 1")


def test_a_limit_in_key_order_reads_no_further_than_it_must() -> None:
    engine = database(PLAIN, "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
    session = engine.session()
    result = ok(session.execute("SELECT id FROM t WHERE id >= 1 AND v > 1 ORDER BY id LIMIT 1"))
    assert result.rows == [(2,)]
    assert len(result.work.reads) == 1
    assert len(ok(session.execute("SELECT id FROM t ORDER BY v LIMIT 1")).work.reads) == 3
