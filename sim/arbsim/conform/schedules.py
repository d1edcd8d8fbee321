"""Random schedules: a few sessions on a few rows, with everything in them that the model can do.

A schedule is a function of the seed and its number. Which session speaks next is drawn among those that do not
wait, as the model sees it, so that every transaction gets to its end.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from arbsim.worlds.virtual.sql import Engine

from .cases import LEVELS, RC, Case, Final, Observed, Step
from .model import ModelRun

TABLE = "create table t (id int primary key, k int unique, v int not null check (v >= 0), n numeric(8,2) default 1)"
FINAL = Final("select id, k, v, n from t order by id")
SETTINGS = ("set enable_seqscan = off", "set enable_bitmapscan = off")
_LOCKS = ("update", "update", "no key update", "share", "key share")
_POLICIES = ("", "", "", "", " nowait", " skip locked")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A case without expectations, and what the model answered."""

    number: int
    case: Case
    observed: Observed


def schedule(seed: int, number: int) -> Schedule:
    """The schedule of this number."""
    draw = random.Random(f"schedule {seed} {number}")  # noqa: S311 - nothing here is secret
    rows = draw.randint(1, 3)
    levels = _levels(draw)
    names = "ABCD"[: len(levels)]
    shape = _reads_then_writes if draw.random() < 0.3 else _transaction
    queues = {name: shape(draw, level, rows) for name, level in zip(names, levels, strict=True)}
    case = Case(
        f"schedule-{seed}-{number}",
        setup=[TABLE, "insert into t values " + _first_rows(rows)],
        sessions=list(names),
        steps=[],
        levels=tuple(dict.fromkeys(levels)),
        session_settings=SETTINGS,
        final=FINAL,
    )
    run = ModelRun(case, Engine("postgres"))
    steps = []
    while ready := [name for name in names if queues[name] and not run.waits(name)]:
        name = draw.choice(ready)
        step = Step(name, queues[name].pop(0))
        run.step(step)
        steps.append(step)
        if run.failed(name) and draw.random() < 0.8:
            queues[name] = _after_error(queues[name])
    return Schedule(number, replace(case, steps=steps), run.finish())


def _after_error(left: list[str]) -> list[str]:
    """What a client does that heard of the error: back to the savepoint if there is one, else to the end."""
    if "rollback to s" in left:
        return left[left.index("rollback to s") :]
    return left[-1:]


def _first_rows(rows: int) -> str:
    return ", ".join(f"({id}, {id * 10}, {id * 10}, {id}.50)" for id in range(1, rows + 1))


def _levels(draw: random.Random) -> list[str]:
    """The level of each session; three times in four all have the same."""
    sessions = draw.choice((2, 2, 2, 3, 3, 4))
    kind = draw.randrange(4)
    if kind < 3:
        return [LEVELS[kind]] * sessions
    return [draw.choice(LEVELS) for _ in range(sessions)]


def _transaction(draw: random.Random, level: str, rows: int) -> list[str]:
    """A session's statements: mostly one transaction; under READ COMMITTED also some without BEGIN."""
    count = draw.randint(1, 5)
    if level == RC and draw.random() < 0.2:
        return [_statement(draw, rows) for _ in range(min(count, 3))]
    modes = " read only" if draw.random() < 0.04 else ""
    begin = f"begin isolation level {level}{modes}"
    body = [_statement(draw, rows) for _ in range(count)]
    if draw.random() < 0.15:
        body = _with_savepoint(draw, body)
    return [begin, *body, "rollback" if draw.random() < 0.15 else "commit"]


def _reads_then_writes(draw: random.Random, level: str, rows: int) -> list[str]:
    """A transaction of the kind that skews: it looks at some rows and writes others, and waits seldom."""
    term = _Terms(draw, rows)
    reads = [draw.choice((_select, _select_all))(term) for _ in range(draw.randint(1, 2))]
    writes = [
        term.fill(
            "update t set v = v + {amount} where id = {id}",
            "update t set v = {amount} where id = {id}{returning}",
            "delete from t where id = {id}",
            "insert into t (id, k, v) values ({id}, {unique}, {amount}){conflict}",
        )
        for _ in range(draw.randint(1, 2))
    ]
    return [f"begin isolation level {level}", *reads, *writes, "commit"]


def _with_savepoint(draw: random.Random, body: list[str]) -> list[str]:
    start = draw.randint(0, len(body))
    end = draw.randint(start, len(body))
    last = draw.choice(("rollback to s", "rollback to s", "release s"))
    return [*body[:start], "savepoint s", *body[start:end], last, *body[end:]]


def _statement(draw: random.Random, rows: int) -> str:
    (kind,) = draw.choices(tuple(_KINDS), tuple(_KINDS.values()))
    return kind(_Terms(draw, rows))


class _Terms:
    """Draws the small parts of a statement. Values come from few, so that sessions meet."""

    def __init__(self, draw: random.Random, rows: int) -> None:
        self.draw = draw
        self.rows = rows

    def fill(self, *templates: str) -> str:
        """One of the templates, with its {parts} drawn."""
        return _PART.sub(self._part, self.draw.choice(templates))

    def _part(self, found: re.Match[str]) -> str:
        return str(getattr(self, found[1]))

    @property
    def id(self) -> int:
        """A row's key; now and then one that is not there yet."""
        return self.draw.randint(1, self.rows + (self.draw.random() < 0.3))

    @property
    def unique(self) -> str:
        return self.draw.choice(("10", "20", "30", "40", "null"))

    @property
    def amount(self) -> str:
        return self.draw.choice(("5", "10", "20"))

    @property
    def where(self) -> str:
        """A condition: mostly a key, else a range or a value that updates move."""
        return self.fill(*_CONDITIONS)

    @property
    def conflict(self) -> str:
        """What an INSERT does about a key that is taken."""
        return self.draw.choice(_CONFLICTS)

    @property
    def returning(self) -> str:
        return self.draw.choice(("", "", " returning v", " returning *"))


_PART = re.compile(r"\{(\w+)\}")
_CONFLICTS = (
    "",
    "",
    " on conflict do nothing",
    " on conflict (id) do nothing",
    " on conflict (k) do nothing",
)
_CONDITIONS = (
    *["id = {id}"] * 5,
    "id = {id} and v >= {amount}",
    "id in ({id}, {id})",
    "id <= {id}",
    "v >= {amount}",
    "v = {amount}",
    "k = {unique}",
    "n > {id} or v < {amount}",
    "v % 20 = 0",
)


def _select(term: _Terms) -> str:
    what = term.fill("*", "id, v", "v, k", "v + n as total")
    return term.fill(
        f"select {what} from t where {{where}}", f"select {what} from t where {{where}} order by id"
    )


def _select_all(term: _Terms) -> str:
    return term.fill(
        "select * from t order by id",
        "select sum(v) as total from t",
        "select count(*) as rows from t where v > 0",
        "select max(v), min(n), avg(v) from t",
        "select id from t order by v desc, id limit {id}",
        "select case when v > {amount} then 'rich' else 'poor' end as word from t order by id",
    )


def _select_lock(term: _Terms) -> str:
    lock, policy = term.fill(*_LOCKS), term.fill(*_POLICIES)
    order = term.fill("", " order by id", " order by id limit 1")
    return term.fill("select id, v from t where {where}" + f"{order} for {lock}{policy}")


def _withdraw(term: _Terms) -> str:
    amount = term.amount
    return term.fill(f"update t set v = v - {amount} where id = {{id}} and v >= {amount}{{returning}}")


def _update(term: _Terms) -> str:
    change = term.fill(
        "v = v + {amount}",
        "v = v - {amount}",
        "v = {amount}",
        "v = v + {amount}, n = n * 1.5",
        "n = n - {amount}",
        "v = v",
        "v = case when v > {amount} then v - {amount} else v end",
    )
    return term.fill(f"update t set {change} where {{where}}{{returning}}")


def _update_all(term: _Terms) -> str:
    return term.fill("update t set v = v + {amount}{returning}", "update t set v = v - {amount}{returning}")


def _update_key(term: _Terms) -> str:
    change = term.fill("k = {unique}", "k = {unique}", "id = {id}", "id = id", "k = k + 10")
    return term.fill(f"update t set {change} where {{where}}{{returning}}")


def _delete(term: _Terms) -> str:
    return term.fill("delete from t where {where}{returning}")


def _insert(term: _Terms) -> str:
    rows = [term.fill("({id}, {unique}, {amount})") for _ in range(term.draw.choice((1, 1, 1, 2)))]
    return term.fill("insert into t (id, k, v) values " + ", ".join(rows) + "{conflict}{returning}")


def _mistake(term: _Terms) -> str:
    return term.fill(
        "select 1 / 0 as broken",
        "update t set v = null where id = {id}",
        "update t set v = v - 1000 where id = {id}",
        "insert into t (id, k, v) values ({id}, null, -1)",
        "select v / (v - {amount}) as share from t order by id",
        "select nothing from t",
    )


def _show(_: _Terms) -> str:
    return "show transaction_isolation"


_KINDS: dict[Callable[[_Terms], str], int] = {
    _select: 14,
    _select_all: 8,
    _select_lock: 16,
    _withdraw: 14,
    _update: 16,
    _update_all: 4,
    _update_key: 6,
    _delete: 8,
    _insert: 12,
    _mistake: 2,
    _show: 1,
}
"""The kinds of statements, and how often each is drawn."""
