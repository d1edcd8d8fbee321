"""A case's statements in every order of the sessions; each session's own order stays."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from .cases import Answer, Case, Observed, Rows, Step

MOST_STEPS = 8


class TooManySteps(Exception):
    """The case has too many steps to try every order."""


@dataclass(slots=True)
class Outcome:
    """One distinct end: in how many orders, one of them, what each session's steps answered, the final rows."""

    count: int
    order: tuple[str, ...]
    answers: dict[str, tuple[str, ...]]
    final: Rows | None


async def outcomes(case: Case, play: Callable[[Case], Awaitable[Observed]]) -> tuple[list[Outcome], int]:
    """The distinct outcomes, most frequent first, and how many orders cannot happen.

    An order cannot happen where a session would speak while its earlier step still waits. Two orders have the
    same outcome if every step answers the same (who waited for whom is left out) and the final rows are equal.
    Raises TooManySteps.
    """
    if len(case.steps) > MOST_STEPS:
        raise TooManySteps(
            f"--all-orders takes up to {MOST_STEPS} steps, and this case has {len(case.steps)}"
        )
    found: dict[str, Outcome] = {}
    impossible = 0
    for steps in orders(case):
        observed = await play(replace(case, steps=steps))
        if any(answer.skipped for answer in observed.steps):
            impossible += 1
            continue
        answers = {
            name: tuple(
                in_short(answer)
                for step, answer in zip(steps, observed.steps, strict=True)
                if step.session == name
            )
            for name in case.sessions
        }
        key = json.dumps([answers, observed.final])
        order = tuple(step.session for step in steps)
        outcome = found.setdefault(key, Outcome(0, order, answers, observed.final))
        outcome.count += 1
    return sorted(found.values(), key=lambda one: -one.count), impossible


def orders(case: Case) -> Iterator[list[Step]]:
    """Every interleaving, in the order of the sessions' names as the case lists them."""
    queues = {name: [step for step in case.steps if step.session == name] for name in case.sessions}
    taken = dict.fromkeys(case.sessions, 0)
    steps: list[Step] = []

    def extend() -> Iterator[list[Step]]:
        if len(steps) == len(case.steps):
            yield list(steps)
            return
        for name in case.sessions:
            if taken[name] < len(queues[name]):
                steps.append(replace(queues[name][taken[name]], expect=None))
                taken[name] += 1
                yield from extend()
                taken[name] -= 1
                steps.pop()

    return extend()


def in_short(answer: Answer) -> str:
    """An answer in a few words: the SQLSTATE, or the tag, with the rows where there are some."""
    if answer.skipped:
        return "not issued"
    if answer.error is not None:
        return f"error {answer.error}"
    if answer.unfinished:
        return "waits for ever"
    if answer.columns is not None:
        return f"{answer.tag}: {json.dumps(answer.rows)}"
    return answer.tag or "nothing"
