"""Making a case smaller while something stays true of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace

from .cases import LEVELS, RC, Case, Observed, Step, expecting

_LEVEL = re.compile(rf"begin isolation level ({'|'.join(LEVELS)})\b")
_ROWS = re.compile(r"\([^()]*\)")


async def shrink(case: Case, holds: Callable[[Case], Awaitable[Observed | None]]) -> Case | None:
    """The smallest case that `holds` still answers for, with that answer as its expectation.

    Greedy: the first smaller case that holds takes its place, until none does. It ends, because each step removes
    a session, a statement or a row. None where the case itself does not hold.
    """
    best, answer = case, await holds(case)
    while answer is not None:
        for candidate in _smaller(best):
            found = await holds(candidate)
            if found is not None:
                best, answer = candidate, found
                break
        else:
            return expecting(best, answer)
    return None


def _smaller(case: Case) -> Iterator[Case]:
    """Smaller cases, the boldest first."""
    for name in case.sessions:
        steps = [step for step in case.steps if step.session != name]
        sessions = [one for one in case.sessions if one != name]
        yield replace(case, sessions=sessions, steps=steps, levels=levels_of(steps))
    size = len(case.steps) // 2
    while size:
        for start in range(0, len(case.steps), size):
            steps = case.steps[:start] + case.steps[start + size :]
            yield replace(case, steps=steps, levels=levels_of(steps))
        size //= 2
    for number, sql in enumerate(case.setup):
        for fewer in _with_fewer_rows(sql):
            yield replace(case, setup=[*case.setup[:number], fewer, *case.setup[number + 1 :]])


def levels_of(steps: Sequence[Step]) -> tuple[str, ...]:
    """The isolation levels that a case's sessions ask for in BEGIN; READ COMMITTED where they have none."""
    found = [match[1] for step in steps if (match := _LEVEL.match(step.sql)) is not None]
    begun = {step.session for step in steps if _LEVEL.match(step.sql)}
    if any(step.session not in begun for step in steps):
        found.append(RC)
    return tuple(dict.fromkeys(found))


def _with_fewer_rows(sql: str) -> Iterator[str]:
    """An INSERT of several rows, with one of them left out."""
    head, separator, tail = sql.partition(" values ")
    rows = _ROWS.findall(tail)
    if separator and len(rows) > 1:
        for number in range(len(rows)):
            yield f"{head} values {', '.join(rows[:number] + rows[number + 1 :])}"
