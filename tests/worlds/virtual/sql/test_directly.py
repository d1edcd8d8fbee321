"""The short way of a statement about one row gives what the general way gives."""

from typing import Literal

import pytest

from arbsim.conform.cases import Case
from arbsim.conform.model import play
from arbsim.conform.schedules import schedule
from arbsim.worlds.virtual.sql import Engine
from arbsim.worlds.virtual.sql.execute import Statement
from arbsim.worlds.virtual.sql.results import Commit
from tests.worlds.virtual.sql.support import database

SCHEDULES = 150


def played(case: Case, dialect: Literal["postgres", "yugabyte"]) -> tuple[object, ...]:
    """What everybody was answered, and every commit with the versions that its changes are based on."""
    commits: list[tuple[object, ...]] = []

    def note(commit: Commit) -> None:
        changes = [(one.version.id, one.version.base_id, one.version.values) for one in commit.changes]
        commits.append((commit.sequence, commit.lsn, changes))

    def engine() -> Engine:
        made = Engine(dialect, split_writes=False)
        made.on_commit.append(note)
        return made

    return play(case, engine), commits


@pytest.mark.parametrize("dialect", ["postgres", "yugabyte"])
def test_random_schedules_end_alike_with_and_without_it(
    dialect: Literal["postgres", "yugabyte"], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [schedule(11, number).case for number in range(SCHEDULES)]
    shortly = [played(case, dialect) for case in cases]
    monkeypatch.setattr(Statement, "directly", lambda self: None)
    assert [played(case, dialect) for case in cases] == shortly


@pytest.mark.parametrize(
    ("statement", "short"),
    [
        ("SELECT v FROM t WHERE id = 1", True),
        ("SELECT v FROM t WHERE id = 1 FOR UPDATE", True),
        ("UPDATE t SET v = v - 1 WHERE id = 1 AND v > 0", True),
        ("UPDATE t SET v = v - 1 WHERE id = 7", True),
        ("UPDATE t SET v = 1", False),
        ("UPDATE t SET id = 2 WHERE id = 1", False),
        ("SELECT sum(v) FROM t WHERE id = 1", False),
        ("SELECT v FROM t WHERE id = 1 LIMIT 0", False),
        ("DELETE FROM t WHERE id = 1", False),
    ],
)
def test_one_row_by_its_key_is_what_takes_the_short_way(
    statement: str, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = database("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 100)")
    taken: list[bool] = []
    directly = Statement.directly

    def watched(self: Statement) -> object:
        done = directly(self)
        taken.append(done is not None)
        return done

    monkeypatch.setattr(Statement, "directly", watched)
    engine.session().execute(statement)
    assert taken == [short]


def test_a_row_that_another_transaction_holds_is_left_to_the_general_way() -> None:
    engine = database("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 100)")
    first, second = engine.session(), engine.session()
    first.execute("BEGIN")
    first.execute("UPDATE t SET v = v - 70 WHERE id = 1")
    second.execute("UPDATE t SET v = v - 70 WHERE id = 1 AND v >= 70")
    assert second.waiting is not None
    first.execute("COMMIT")
    assert engine.table("t") == [{"id": 1, "v": 30}]
