"""What no schedule may do: overdraw, lose money, deadlock for good, or commit what no serial order explains."""

from itertools import permutations
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbsim.worlds.virtual.sql import Engine, Result, Session, SqlError, Waiting
from tests.worlds.virtual.sql.support import database

Dialect = Literal["postgres", "yugabyte"]
Answer = tuple[Any, ...]
LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


class Player:
    """Runs programs (lists of statements) in a given interleaving; a session that waits is passed over."""

    def __init__(self, engine: Engine, programs: list[list[str]]) -> None:
        self.engine = engine
        self.programs = [list(program) for program in programs]
        self.sessions = [engine.session(str(number)) for number in range(len(programs))]
        self.answers: list[list[Answer]] = [[] for _ in programs]
        self.waits: list[Waiting] = []
        engine.on_wait.append(self.waits.append)

    def play(self, order: list[int]) -> None:
        for choice in order:
            self._step(choice % len(self.programs))
        while any(self.programs):
            progress = [self._step(number) for number in range(len(self.programs))]
            assert any(progress), "every session waits: a deadlock was not found"

    def _step(self, number: int) -> bool:
        session, program = self.sessions[number], self.programs[number]
        if session.waiting is not None or not program:
            return False
        outcome = session.execute(program.pop(0))
        if isinstance(outcome, Waiting):
            outcome.then(lambda result: self._record(number, result))
        else:
            self._record(number, outcome)
        while self.waits:
            self.engine.detect_deadlock(self.waits.pop(0))
        return True

    def _record(self, number: int, outcome: Result | SqlError) -> None:
        if isinstance(outcome, SqlError):
            self.answers[number].append(("error", outcome.sqlstate))
        else:
            self.answers[number].append((outcome.tag, list(outcome.rows)))


orders = st.lists(st.integers(min_value=0, max_value=5), max_size=24)


@pytest.mark.parametrize("dialect", ["postgres", "yugabyte"])
@given(
    amounts=st.lists(st.tuples(st.integers(1, 90), st.sampled_from(LEVELS)), min_size=2, max_size=6),
    autocommit=st.booleans(),
    order=orders,
)
@settings(max_examples=100)
def test_predicate_updates_never_overdraw_and_the_balance_is_what_the_answers_say(
    dialect: Dialect, amounts: list[tuple[int, str]], autocommit: bool, order: list[int]
) -> None:
    engine = database(
        "CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 100)", dialect=dialect
    )
    programs = []
    for amount, level in amounts:
        update = f"UPDATE t SET v = v - {amount} WHERE id = 1 AND v >= {amount} RETURNING v"
        programs.append([update] if autocommit else [f"BEGIN ISOLATION LEVEL {level}", update, "COMMIT"])
    player = Player(engine, programs)
    player.play(order)
    taken = 0
    for (amount, _), answers in zip(amounts, player.answers, strict=True):
        committed = autocommit or answers[-1][0] == "COMMIT"
        if committed and ("UPDATE 1" in [answer[0] for answer in answers]):
            taken += amount
    assert engine.table("t") == [{"id": 1, "v": 100 - taken}]
    assert taken <= 100


accounts = st.integers(1, 3)
statements = st.one_of(
    st.builds("SELECT id, v FROM t WHERE id = {}".format, accounts),
    st.just("SELECT sum(v), count(*) FROM t WHERE id >= 1"),
    st.just("SELECT count(*) FROM t WHERE v > 15"),
    st.builds("SELECT id FROM t WHERE id = {} FOR UPDATE".format, accounts),
    st.builds("UPDATE t SET v = v + {} WHERE id = {}".format, st.sampled_from([1, 10]), accounts),
    st.builds("UPDATE t SET v = {} WHERE id = {}".format, st.sampled_from([5, 50]), accounts),
    st.just("UPDATE t SET v = v * 2 WHERE v > 15"),
    st.builds("INSERT INTO t VALUES ({}, 7)".format, st.integers(1, 5)),
    st.builds("DELETE FROM t WHERE id = {}".format, accounts),
)
programs_of_transactions = st.lists(st.lists(statements, min_size=1, max_size=3), min_size=2, max_size=3)
SETUP = ("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 10), (2, 20)")


@pytest.mark.parametrize("dialect", ["postgres", "yugabyte"])
@given(bodies=programs_of_transactions, order=orders)
@settings(max_examples=150)
def test_whatever_commits_under_serializable_has_a_serial_order(
    dialect: Dialect, bodies: list[list[str]], order: list[int]
) -> None:
    programs = [["BEGIN ISOLATION LEVEL SERIALIZABLE", *body, "COMMIT"] for body in bodies]
    engine = database(*SETUP, dialect=dialect)
    player = Player(engine, programs)
    player.play(order)
    committed = [number for number, answers in enumerate(player.answers) if answers[-1] == ("COMMIT", [])]
    final = engine.table("t")
    assert any(
        serial_run(programs, chosen) == (final, [player.answers[number] for number in chosen])
        for chosen in permutations(committed)
    ), player.answers


def serial_run(programs: list[list[str]], chosen: tuple[int, ...]) -> tuple[Any, list[list[Answer]]]:
    engine = database(*SETUP)
    player = Player(engine, [programs[number] for number in chosen])
    for number, program in enumerate(player.programs):
        for _ in range(len(program)):
            player._step(number)
    return engine.table("t"), player.answers


@pytest.mark.parametrize("dialect", ["postgres", "yugabyte"])
@given(
    bodies=programs_of_transactions,
    levels=st.lists(st.sampled_from(LEVELS), min_size=3, max_size=3),
    order=orders,
)
@settings(max_examples=100)
def test_nothing_is_left_behind_when_all_transactions_have_ended(
    dialect: Dialect, bodies: list[list[str]], levels: list[str], order: list[int]
) -> None:
    engine = database(*SETUP, dialect=dialect)
    programs = [
        [f"BEGIN ISOLATION LEVEL {level}", *body, "COMMIT"]
        for level, body in zip(levels, bodies, strict=False)
    ]
    player = Player(engine, programs)
    player.play(order)
    for session in player.sessions:
        session.close()
    assert_clean(engine)


def assert_clean(engine: Engine) -> None:
    table = engine.tables["t"]
    for row in table.rows:
        assert row.lockers == {}
        assert row.queue is None
        assert row.pending is None
        assert row.current is not None
        assert not row.current.deleted
        assert row.current.older is None
    assert sorted(key for key in table.indexes[0].entries) == [(row["id"],) for row in engine.table("t")]
    assert engine.waiting == {}
    assert table.predicate_locks == []
    assert table.readers == {}
    assert engine.ssi.finished == []


@given(first=st.lists(statements, min_size=1, max_size=4))
@settings(max_examples=60)
def test_a_rolled_back_transaction_leaves_no_trace(first: list[str]) -> None:
    engine = database(*SETUP)
    session: Session = engine.session()
    before = engine.table("t")
    for sql in ("BEGIN", *first, "ROLLBACK"):
        session.execute(sql)
    assert engine.table("t") == before
    assert_clean(engine)
