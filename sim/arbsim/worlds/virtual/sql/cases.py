"""Cases with known answers: sessions, steps of SQL, what each answers, and which step lets which go on.

The format is described in tests/conformance/README.md. `run_case` plays one on an engine and returns
what it observed; `differences` compares that with what the case expects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from .engine import Engine
from .errors import SqlError
from .parsing import Query, parse
from .results import Result
from .session import Session, Waiting

Case = Mapping[str, Any]
_KEYS = ("blocks", "unblocks_after", "error", "message", "constraint", "rows", "rowcount", "columns", "tag")


@dataclass(slots=True)
class Observed:
    """What one run of a case showed: per step a dict in the form of `expect`, and the final rows."""

    steps: list[dict[str, Any]]
    final: list[list[Any]] | None


@dataclass(slots=True)
class _Run:
    """The state of a run: which step of which session still waits, and which waits were checked."""

    engine: Engine
    sessions: dict[str, Session]
    observed: list[dict[str, Any]] = field(default_factory=list)
    waits: list[Waiting] = field(default_factory=list)
    current: int = 0

    def issue(self, session: Session, sql: str) -> None:
        step: dict[str, Any] = {"blocks": False}
        number = self.current
        self.observed.append(step)
        outcome = session.execute(sql)
        if isinstance(outcome, Waiting):
            step["blocks"] = True
            step["unfinished"] = True
            outcome.then(lambda result: self._finished(number, result))
        else:
            _record(step, outcome)

    def _finished(self, number: int, outcome: Result | SqlError) -> None:
        step = self.observed[number]
        del step["unfinished"]
        step["unblocks_after"] = self.current
        _record(step, outcome)

    def quiet(self) -> None:
        """Every wait that began gets its deadlock check, once, in the order in which they began."""
        while self.waits:
            self.engine.detect_deadlock(self.waits.pop(0))


def run_case(case: Case, make_engine: Callable[[], Engine] = Engine) -> Observed:
    """Play a case: set-up, then each step followed by quiet, then the final query.

    A step for a session whose earlier step still waits is not issued (its observation is empty).
    Raises ValueError for a case whose set-up fails or whose step names an unknown session.
    """
    engine = make_engine()
    admin = engine.session("setup")
    setup = case["setup"]
    for sql in setup["sql"] if isinstance(setup, Mapping) else setup:
        outcome = admin.execute(sql)
        if not isinstance(outcome, Result):
            raise ValueError(f"the set-up of case {case.get('id')} fails at {sql!r}: {outcome}")
    run = _Run(engine, {name: engine.session(name) for name in case["sessions"]})
    engine.on_wait.append(run.waits.append)
    for number, step in enumerate(case["steps"]):
        run.current = number
        session = run.sessions.get(step["session"])
        if session is None:
            raise ValueError(f"step {number} of case {case.get('id')}: unknown session {step['session']!r}")
        if session.waiting is not None:
            run.observed.append({"skipped": True})
            continue
        run.issue(session, step["sql"])
        run.quiet()
    stuck = [session for session in run.sessions.values() if session.waiting is not None]
    for session in stuck:  # what still waits stays "unfinished": its forced end is not observed
        session.waiting = Waiting(session)
    for session in [*stuck, *run.sessions.values()]:
        session.close()
    return Observed(run.observed, _final(case, admin))


def _final(case: Case, admin: Session) -> list[list[Any]] | None:
    final = case.get("final")
    if not final:
        return None
    outcome = admin.execute(final["sql"])
    return _json_rows(outcome.rows) if isinstance(outcome, Result) else None


def _record(step: dict[str, Any], outcome: Result | SqlError) -> None:
    if isinstance(outcome, SqlError):
        step["error"] = outcome.sqlstate
        step["message"] = outcome.message
        if outcome.constraint:
            step["constraint"] = outcome.constraint
        return
    step["tag"] = outcome.tag
    if outcome.rowcount:
        step["rowcount"] = outcome.rowcount
    if outcome.columns:
        step["rows"] = _json_rows(outcome.rows)
        step["columns"] = list(outcome.columns)


def _json_rows(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [[_json(value) for value in row] for row in rows]


def _json(value: Any) -> Any:
    """Integers as numbers, numerics with a fraction and dates as strings."""
    if isinstance(value, Decimal):
        return (
            int(value)
            if value == value.to_integral_value() and value.as_tuple().exponent == 0
            else str(value)
        )
    return str(value) if isinstance(value, datetime) else value


def differences(case: Case, observed: Observed) -> list[str]:
    """What differs from the expectation, one sentence each; empty where everything agrees.

    Rows of a query without ORDER BY are compared as a set, numbers as numbers.
    """
    found = []
    for number, (step, seen) in enumerate(zip(case["steps"], observed.steps, strict=True)):
        expected = step["expect"]
        if seen.get("skipped"):
            if not expected.get("skipped"):
                found.append(f"step {number} ({step['session']}) was not issued: its session still waits")
            continue
        for key in (*_KEYS, "unfinished"):
            want, got = expected.get(key), seen.get(key)
            if key == "rows" and not _ordered(step["sql"]):
                want, got = _as_set(want), _as_set(got)
            if not _same(want, got):
                found.append(
                    f"step {number} ({step['session']}: {step['sql']}) {key}: expected {want!r}, got {got!r}"
                )
    final = case.get("final")
    if final and not _same(final.get("rows"), observed.final):
        found.append(f"final rows: expected {final.get('rows')!r}, got {observed.final!r}")
    return found


def _ordered(sql: str) -> bool:
    parsed = parse(sql)[-1].parsed if parse(sql) else None
    return isinstance(parsed, Query) and parsed.node.args.get("order") is not None


def _as_set(rows: Any) -> Any:
    return sorted(rows, key=lambda row: [str(_number(value)) for value in row]) if rows is not None else None


def _number(value: Any) -> Any:
    """A value for comparison: text that is a number counts as that number."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | str):
        try:
            return Decimal(value).normalize()
        except InvalidOperation:
            return value
    return value


def _same(want: Any, got: Any) -> bool:
    if isinstance(want, list) and isinstance(got, list):
        return len(want) == len(got) and all(_same(a, b) for a, b in zip(want, got, strict=True))
    return bool(_number(want) == _number(got)) if not (want is None or got is None) else want is got
