"""What the engine tells its callers: commits, versions and their bases, costs; and that it stays small."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from arbsim.worlds.virtual.sql import Commit, Engine, SqlError, Version
from tests.worlds.virtual.sql.support import ACCT, PLAIN, WITHDRAW, Blocked, begin, database, error, ok, rows


def test_commits_are_announced_in_order_with_rows_before_and_after() -> None:
    engine = database(PLAIN, "INSERT INTO t VALUES (1, 10)")
    commits: list[Commit] = []
    engine.on_commit.append(commits.append)
    session = engine.session()
    session.trace = "op-7"
    ok(session.execute("UPDATE t SET v = 11 WHERE id = 1"))
    begin(session)
    ok(session.execute("INSERT INTO t VALUES (2, 20)"))
    ok(session.execute("DELETE FROM t WHERE id = 1"))
    ok(session.execute("UPDATE t SET v = 21 WHERE id = 2"))
    ok(session.execute("COMMIT"))
    ok(session.execute("SELECT * FROM t"))
    ok(session.execute("UPDATE t SET v = 0 WHERE id = 9"))
    seen = [[(change.op, change.before, change.after) for change in commit.changes] for commit in commits]
    assert seen == [
        [("u", {"id": 1, "v": 10}, {"id": 1, "v": 11})],
        [
            ("c", None, {"id": 2, "v": 20}),
            ("d", {"id": 1, "v": 11}, None),
            ("u", {"id": 2, "v": 20}, {"id": 2, "v": 21}),
        ],
    ]
    assert [commit.sequence for commit in commits] == [1, 2]
    assert commits[0].lsn < commits[1].lsn
    assert commits[0].xid < commits[1].xid
    assert {commit.trace for commit in commits} == {"op-7"}
    assert [change.version.commit_seq for change in commits[1].changes] == [3, 3, 3]


def test_a_rolled_back_transaction_is_never_announced() -> None:
    engine = database(PLAIN)
    commits: list[Commit] = []
    engine.on_commit.append(commits.append)
    session = engine.session()
    begin(session)
    ok(session.execute("INSERT INTO t VALUES (1, 1)"))
    ok(session.execute("ROLLBACK"))
    assert commits == []
    assert engine.table("t") == []


def written(outcome: Any) -> Version:
    (version,) = ok(outcome).work.writes
    return version


def test_a_relative_update_is_based_on_the_version_it_replaced() -> None:
    engine = database(ACCT, "INSERT INTO acct VALUES (1, 100)")
    session = engine.session()
    session.trace = 1
    first = written(session.execute("UPDATE acct SET balance = balance - 1, updated_at = now() WHERE id = 1"))
    second = written(session.execute("UPDATE acct SET balance = balance - 1 WHERE id = 1"))
    assert second.base is first
    assert second.base_id == first.id
    assert second.trace == 1
    assert second.row["balance"] == Decimal("98.00")


def test_an_absolute_update_is_based_on_what_its_operation_read_on_any_session() -> None:
    engine = database(ACCT, "INSERT INTO acct VALUES (1, 100)")
    a, b, other = engine.session("a"), engine.session("b"), engine.session("other")
    a.trace = b.trace = "op-1"
    other.trace = "op-2"
    (read,) = ok(a.execute("SELECT balance FROM acct WHERE id = 1")).work.reads
    lost = written(other.execute("UPDATE acct SET balance = balance + 5 WHERE id = 1"))
    assert lost.base_id == read.id
    overwrite = written(b.execute("UPDATE acct SET balance = 60 WHERE id = 1"))
    assert overwrite.base is read
    assert overwrite.older is None or overwrite.older is lost
    again = written(a.execute("UPDATE acct SET balance = 50 WHERE id = 1"))
    assert again.base is overwrite
    engine.forget("op-1")
    assert written(a.execute("UPDATE acct SET balance = 40 WHERE id = 1")).base is None
    other.trace = None
    assert written(other.execute("UPDATE acct SET balance = 30 WHERE id = 1")).base is None


def test_work_says_what_was_read_written_waited_for_and_its_cost_class() -> None:
    engine = database(ACCT, "INSERT INTO acct VALUES (1, 100), (2, 100)")
    a, b = engine.session("a"), engine.session("b")
    kinds = [
        ok(a.execute(sql)).work.kind
        for sql in (
            "BEGIN",
            "SELECT * FROM acct",
            "SELECT * FROM acct WHERE id = 2 FOR UPDATE",
            "UPDATE acct SET balance = 10 WHERE id = 1",
        )
    ]
    assert kinds == ["begin", "read", "lock", "write"]
    blocked = Blocked(b.execute(WITHDRAW, (5, 1)))
    assert ok(a.execute("COMMIT")).work.kind == "commit"
    work = ok(blocked.outcome).work
    assert work.waited
    assert [version.row["balance"] for version in work.reads] == [100, 10]
    assert [version.row["balance"] for version in work.writes] == [5]
    assert ok(a.execute("ROLLBACK")).work.kind == "rollback"


@pytest.mark.parametrize(
    ("ddl", "sql", "fast"),
    [
        ("v numeric(12,2)", "UPDATE x SET v = v - 1 WHERE id = 1", True),
        ("v numeric(12,2)", "UPDATE x SET v = 5 WHERE id = 1 RETURNING v", True),
        ("v numeric(12,2)", "UPDATE x SET v = v - 1 WHERE id = 1 AND v >= 1", False),
        ("v numeric(12,2)", "UPDATE x SET v = v - 1 WHERE id >= 1", False),
        ("v numeric(12,2)", "UPDATE x SET v = v - 1 WHERE id IN (1, 2)", False),
        ("v numeric(12,2)", "UPDATE x SET id = 5 WHERE id = 1", False),
        ("v numeric(12,2) NOT NULL", "UPDATE x SET v = v - 1 WHERE id = 1", False),
        ("v numeric(12,2) NOT NULL", "UPDATE x SET v = 5 WHERE id = 1", True),
        ("v numeric(12,2) CHECK (v >= 0)", "UPDATE x SET v = 5 WHERE id = 1", False),
        ("v numeric(12,2)", "DELETE FROM x WHERE id = 1", True),
        ("v numeric(12,2)", "INSERT INTO x VALUES (2, 2)", True),
        ("v numeric(12,2)", "INSERT INTO x VALUES (2, 2) ON CONFLICT DO NOTHING", False),
        ("v numeric(12,2) UNIQUE", "INSERT INTO x VALUES (2, 2)", False),
        ("v numeric(12,2) UNIQUE", "UPDATE x SET v = 5 WHERE id = 1", False),
    ],
)
def test_the_single_row_fast_path_follows_yugabytedbs_rules(ddl: str, sql: str, fast: bool) -> None:
    engine = database(f"CREATE TABLE x (id int PRIMARY KEY, {ddl})", "INSERT INTO x VALUES (1, 100)")
    session = engine.session()
    begin(session)
    assert not ok(session.execute(sql)).work.fast_path
    ok(session.execute("ROLLBACK"))
    assert ok(session.execute(sql)).work.fast_path is fast


def test_now_is_the_time_at_which_the_transaction_began() -> None:
    times = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n) for n in range(99))
    session = database(PLAIN, now=lambda: next(times)).session()
    ok(session.execute("BEGIN"))
    first = rows(session.execute("SELECT now()"))
    assert rows(session.execute("SELECT now()")) == first
    ok(session.execute("COMMIT"))
    assert rows(session.execute("SELECT now()")) > first


def test_old_versions_go_as_soon_as_no_snapshot_needs_them() -> None:
    engine = database(ACCT, "INSERT INTO acct VALUES (1, 100000)")
    reader, writer = engine.session("reader"), engine.session("writer")
    writer.trace = 1
    begin(reader, "REPEATABLE READ")
    old = rows(reader.execute("SELECT balance FROM acct"))
    for _ in range(50):
        ok(writer.execute(WITHDRAW, (1, 1)))
    (row,) = engine.tables["acct"].rows
    assert chain(row.current) == 51
    assert rows(reader.execute("SELECT balance FROM acct")) == old
    ok(reader.execute("COMMIT"))
    assert chain(row.current) == 1
    for _ in range(50):
        ok(writer.execute(WITHDRAW, (1, 1)))
    assert chain(row.current) == 1
    assert bases(row.current) <= 2


def chain(version: Version | None) -> int:
    return 0 if version is None else 1 + chain(version.older)


def bases(version: Version | None) -> int:
    return 0 if version is None else 1 + bases(version.base)


def test_deleted_rows_and_old_keys_leave_the_table() -> None:
    engine = database(PLAIN)
    session = engine.session()
    for n in range(20):
        ok(session.execute("INSERT INTO t VALUES ($1, 0)", (n,)))
        ok(session.execute("UPDATE t SET id = id + 100 WHERE id = $1", (n,)))
        if n % 2:
            ok(session.execute("DELETE FROM t WHERE id = $1", (n + 100,)))
    table = engine.tables["t"]
    assert len(table.rows) == 10
    assert sorted(table.indexes[0].entries) == [(n + 100,) for n in range(0, 20, 2)]
    assert [row["id"] for row in engine.table("t")] == [n + 100 for n in range(0, 20, 2)]
    assert rows(session.execute("SELECT count(*) FROM t WHERE id > 110")) == [(4,)]


def test_a_finished_serializable_transaction_leaves_nothing_behind() -> None:
    engine = database(PLAIN, "INSERT INTO t VALUES (1, 1)")
    session = engine.session()
    for _ in range(5):
        begin(session, "SERIALIZABLE")
        ok(session.execute("UPDATE t SET v = v + 1 WHERE id >= 1"))
        ok(session.execute("SELECT sum(v) FROM t"))
        ok(session.execute("COMMIT"))
    assert engine.ssi.finished == []
    assert engine.ssi.active == {}
    assert engine.tables["t"].readers == {}
    assert engine.tables["t"].indexes[0].readers == {}


def test_the_same_calls_give_the_same_answers_and_numbers() -> None:
    def play() -> list[str]:
        engine = database(ACCT, "INSERT INTO acct VALUES (1, 100), (2, 100)")
        log: list[str] = []
        engine.on_commit.append(lambda commit: log.append(repr(commit)))
        a, b = engine.session("a"), engine.session("b")
        begin(a, "SERIALIZABLE")
        log.append(repr(a.execute(WITHDRAW, (10, 1))))
        waiting = Blocked(b.execute(WITHDRAW, (10, 1)))
        log.append(repr(a.execute("COMMIT")))
        log.append(repr(waiting.outcome))
        return log

    assert play() == play()


def test_an_unknown_table_is_a_key_error_for_the_caller_and_42p01_for_a_statement() -> None:
    engine = Engine()
    with pytest.raises(KeyError):
        engine.table("nothing")
    outcome = engine.session().execute("SELECT * FROM nothing")
    assert isinstance(outcome, SqlError)
    assert error(outcome) == "42P01"


def test_what_operations_read_is_kept_for_a_bounded_number_of_them() -> None:
    engine = database(PLAIN, "INSERT INTO t VALUES (1, 1)")
    session = engine.session()
    for trace in range(20_010):
        session.trace = trace
        ok(session.execute("SELECT v FROM t WHERE id = 1"))
    assert len(engine._reads) == 20_000


def test_a_held_statement_keeps_its_locks_until_it_is_committed_and_counts_as_autocommit() -> None:
    engine = database("CREATE TABLE x (id int PRIMARY KEY, v int)", "INSERT INTO x VALUES (1, 1)")
    a, b = engine.session("a"), engine.session("b")
    result = ok(a.execute("UPDATE x SET v = v + 1 WHERE id = 1", hold=True))
    assert result.work.fast_path
    blocked = Blocked(b.execute("UPDATE x SET v = v + 1 WHERE id = 1", hold=True))
    assert engine.table("x") == [{"id": 1, "v": 1}]
    assert ok(a.execute("COMMIT")).tag == "COMMIT"
    assert ok(blocked.outcome).rowcount == 1
    assert b.in_transaction
    assert ok(b.execute("ROLLBACK")).tag == "ROLLBACK"
    assert engine.table("x") == [{"id": 1, "v": 2}]
    assert error(a.execute("SELECT 1/0", hold=True)) == "22012"
    assert not a.in_transaction


def test_an_answer_that_all_sessions_share_holds_nothing_that_can_be_changed() -> None:
    first, second = Engine().session(), Engine().session()
    for sql in ("BEGIN", "SET TRANSACTION READ WRITE", "ROLLBACK", "BEGIN", "COMMIT"):
        answer = ok(first.execute(sql))
        if answer is ok(second.execute(sql)):
            hash((answer.columns, answer.rows, answer.work.reads, answer.work.writes))
