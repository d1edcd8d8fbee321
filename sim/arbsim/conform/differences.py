"""Where an observation differs from what a case expects: key by key, numbers as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any

from arbsim.worlds.virtual.sql.parsing import Query, parse

from .cases import NAMES, Answer, Case, Observed

_WAITING = ("skipped", "blocks", "unblocks_after", "unfinished")
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Rounds nothing: only zeros are taken off."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key of one step's answer that is not as expected; `step` is None for the final rows."""

    step: int | None
    session: str
    sql: str
    key: str
    expected: Any
    observed: Any


def differences(case: Case, observed: Observed) -> list[Difference]:
    """All differences, in the order of the steps. Rows of a query without ORDER BY are compared as a set."""
    found = []
    for number, (step, seen) in enumerate(zip(case.steps, observed.steps, strict=True)):
        if step.expect is not None:
            for key in _differing(step.sql, step.expect, seen):
                expected, got = getattr(step.expect, key), getattr(seen, key)
                found.append(Difference(number, step.session, step.sql, key, expected, got))
    final = case.final
    if final is not None and final.rows is not None and not same(final.rows, observed.final):
        found.append(Difference(None, "", final.sql, "rows", final.rows, observed.final))
    return found


def _differing(sql: str, expected: Answer, seen: Answer) -> Iterator[str]:
    for key in _WAITING:
        if getattr(expected, key) != getattr(seen, key):
            yield key
            if key == "skipped":
                return
    for key in NAMES:
        want, got = getattr(expected, key), getattr(seen, key)
        if key == "message" and want is None and expected.error is not None:
            continue  # versions word their messages differently; the SQLSTATE is the answer
        if key == "rows" and want is not None and got is not None and not _ordered(sql):
            want, got = _as_set(want), _as_set(got)
        if not same(want, got):
            yield key


def same_answer(sql: str, expected: Answer, seen: Answer) -> bool:
    """Whether two answers agree in everything but the waiting."""
    return not any(key in NAMES for key in _differing(sql, expected, seen))


def _ordered(sql: str) -> bool:
    statements = parse(sql)
    parsed = statements[-1].parsed if statements else None
    return isinstance(parsed, Query) and parsed.node.args.get("order") is not None


def _as_set(rows: list[list[Any]]) -> list[list[Any]]:
    return sorted(rows, key=lambda row: [str(_number(value)) for value in row])


def _number(value: Any) -> Any:
    """A value for comparison: text that is a number counts as that number, whatever its zeros at the end."""
    if isinstance(value, int | str):
        try:
            number = Decimal(value)
        except InvalidOperation:
            return value
        return number.normalize(_EXACT) if number.is_finite() else value
    return value


def same(want: Any, got: Any) -> bool:
    """Whether two JSON values are equal, numbers as numbers."""
    if isinstance(want, list) and isinstance(got, list):
        return len(want) == len(got) and all(same(a, b) for a, b in zip(want, got, strict=True))
    if isinstance(want, bool) or isinstance(got, bool):
        return want is got
    return bool(_number(want) == _number(got))
