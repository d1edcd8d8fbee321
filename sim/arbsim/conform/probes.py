"""One probe for each anomaly of Hermitage: a case that lets it happen where the isolation level allows it.

After Hermitage by Martin Kleppmann (github.com/ept/hermitage, CC BY 4.0), whose names they keep: G0 to G2 from Adya
(1999), OTV and PMP from Cerone and others (2015) and Bailis and others (2014), P4 from Berenson and others (1995).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .cases import LEVELS, RC, RR, SER, Answer, Case, Final, Observed, Step

_SETUP = [
    "create table test (id int primary key, value int)",
    "insert into test (id, value) values (1, 10), (2, 20)",
]
_FINAL = Final("select id, value from test order by id")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe's run showed, by session, for the functions that judge it."""

    case: Case
    observed: Observed

    def answers(self, session: str) -> list[Answer]:
        """What the session's steps answered, in order; the first is BEGIN's."""
        pairs = zip(self.case.steps, self.observed.steps, strict=True)
        return [answer for step, answer in pairs if step.session == session]

    def committed(self, session: str) -> bool:
        """Whether the session's transaction committed."""
        return self.answers(session)[-1].tag == "COMMIT"

    def values(self, session: str) -> list[list[Any]]:
        """The last column of each of the session's answers that have rows, in order."""
        return [
            [row[-1] for row in answer.rows] for answer in self.answers(session) if answer.rows is not None
        ]

    @property
    def final(self) -> dict[int, int]:
        """The table at the end."""
        return {row[0]: row[1] for row in self.observed.final or []}


@dataclass(frozen=True, slots=True)
class Probe:
    """One anomaly: what happens, the statements that show it, whether they did, and which levels claim to stop it."""

    code: str
    name: str
    steps: tuple[str, ...]
    happened: Callable[[Seen], bool]
    stopped_from: str

    def claimed(self, level: str) -> bool:
        """Whether this level claims to stop the anomaly (manuals of PostgreSQL and YugabyteDB, isolation levels)."""
        return LEVELS.index(level) >= LEVELS.index(self.stopped_from)

    def case(self, level: str) -> Case:
        """The probe at one level: every session begins, then the steps."""
        spoken = [text.partition(": ") for text in self.steps]
        names = list(dict.fromkeys(name for name, _, _ in spoken))
        begins = [Step(name, f"begin isolation level {level}") for name in names]
        steps = [Step(name, sql) for name, _, sql in spoken]
        return Case(
            f"{self.code} {level}", list(_SETUP), names, [*begins, *steps], levels=(level,), final=_FINAL
        )


def _mixed_writes(seen: Seen) -> bool:
    return (seen.final.get(1), seen.final.get(2)) in ((11, 22), (12, 21))


def _saw(session: str, value: int) -> Callable[[Seen], bool]:
    def happened(seen: Seen) -> bool:
        return any(value in values for values in seen.values(session))

    return happened


def _saw_each_other(seen: Seen) -> bool:
    return _saw("T1", 22)(seen) and _saw("T2", 11)(seen)


def _vanished(seen: Seen) -> bool:
    """T3 saw T2's writes, and later an older value again."""
    writers = [2 if value in (12, 18) else 1 for values in seen.values("T3") for value in values]
    return writers != sorted(writers)


def _phantom(seen: Seen) -> bool:
    return _saw("T1", 30)(seen)


def _skewed_read(seen: Seen) -> bool:
    return _saw("T1", 10)(seen) and _saw("T1", 18)(seen)


def _both_committed(seen: Seen) -> bool:
    return seen.committed("T1") and seen.committed("T2")


_ONE, _TWO = "update test set value = {} where id = 1", "update test set value = {} where id = 2"

PROBES = (
    Probe(
        "G0",
        "dirty write: two transactions overwrite each other's rows",
        (
            f"T1: {_ONE.format(11)}",
            f"T2: {_ONE.format(12)}",
            f"T1: {_TWO.format(21)}",
            "T1: commit",
            f"T2: {_TWO.format(22)}",
            "T2: commit",
        ),
        _mixed_writes,
        RC,
    ),
    Probe(
        "G1a",
        "aborted read: what was rolled back has been read",
        (
            f"T1: {_ONE.format(101)}",
            "T2: select id, value from test",
            "T1: rollback",
            "T2: select id, value from test",
            "T2: commit",
        ),
        _saw("T2", 101),
        RC,
    ),
    Probe(
        "G1b",
        "intermediate read: a value is read that its writer then replaced",
        (
            f"T1: {_ONE.format(101)}",
            "T2: select id, value from test",
            f"T1: {_ONE.format(11)}",
            "T1: commit",
            "T2: select id, value from test",
            "T2: commit",
        ),
        _saw("T2", 101),
        RC,
    ),
    Probe(
        "G1c",
        "circular information flow: each reads what the other wrote",
        (
            f"T1: {_ONE.format(11)}",
            f"T2: {_TWO.format(22)}",
            "T1: select value from test where id = 2",
            "T2: select value from test where id = 1",
            "T1: commit",
            "T2: commit",
        ),
        _saw_each_other,
        RC,
    ),
    Probe(
        "OTV",
        "observed transaction vanishes: what was seen of it is gone at the next look",
        (
            f"T1: {_ONE.format(11)}",
            f"T1: {_TWO.format(19)}",
            f"T2: {_ONE.format(12)}",
            "T1: commit",
            "T3: select value from test where id = 1",
            f"T2: {_TWO.format(18)}",
            "T3: select value from test where id = 2",
            "T2: commit",
            "T3: select value from test where id = 2",
            "T3: select value from test where id = 1",
            "T3: commit",
        ),
        _vanished,
        RC,
    ),
    Probe(
        "PMP",
        "predicate-many-preceders: a row appears that an earlier look did not see",
        (
            "T1: select id, value from test where value = 30",
            "T2: insert into test (id, value) values (3, 30)",
            "T2: commit",
            "T1: select id, value from test where value % 3 = 0",
            "T1: commit",
        ),
        _phantom,
        RR,
    ),
    Probe(
        "P4",
        "lost update: both read, both write what they computed, one write is lost",
        (
            "T1: select value from test where id = 1",
            "T2: select value from test where id = 1",
            f"T1: {_ONE.format(11)}",
            f"T2: {_ONE.format(12)}",
            "T1: commit",
            "T2: commit",
        ),
        _both_committed,
        RR,
    ),
    Probe(
        "G-single",
        "read skew: two reads see two states",
        (
            "T1: select value from test where id = 1",
            f"T2: {_ONE.format(12)}",
            f"T2: {_TWO.format(18)}",
            "T2: commit",
            "T1: select value from test where id = 2",
            "T1: commit",
        ),
        _skewed_read,
        RR,
    ),
    Probe(
        "G2-item",
        "write skew: each writes a row that the other has read",
        (
            "T1: select value from test where id in (1, 2)",
            "T2: select value from test where id in (1, 2)",
            f"T1: {_ONE.format(11)}",
            f"T2: {_TWO.format(21)}",
            "T1: commit",
            "T2: commit",
        ),
        _both_committed,
        SER,
    ),
    Probe(
        "G2",
        "anti-dependency cycle: each adds a row that the other's search would have found",
        (
            "T1: select value from test where value % 3 = 0",
            "T2: select value from test where value % 3 = 0",
            "T1: insert into test (id, value) values (3, 30)",
            "T2: insert into test (id, value) values (4, 42)",
            "T1: commit",
            "T2: commit",
        ),
        _both_committed,
        SER,
    ),
)
