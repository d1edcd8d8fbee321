"""Is there a serial order that explains what the committed transactions of a schedule were told?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from arbsim.worlds.virtual.sql import Engine

from .cases import Answer, Case, Observed, Step
from .differences import same, same_answer
from .model import ModelRun

_OF_CONCURRENCY = ("40001", "40P01", "55P03", "25P02")
"""Errors that other transactions cause, and what follows them: they tell nothing about the data."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One committed transaction: its session and its steps with their answers."""

    session: str
    steps: tuple[tuple[Step, Answer], ...]


def committed(case: Case, observed: Observed) -> list[Transaction]:
    """The transactions that committed, by the order of their commits. Each session has one, with BEGIN and COMMIT."""
    found = []
    ended: dict[str, list[tuple[Step, Answer]]] = {name: [] for name in case.sessions}
    for step, answer in zip(case.steps, observed.steps, strict=True):
        ended[step.session].append((step, answer))
        if step.sql == "commit" and answer.tag == "COMMIT":
            found.append(Transaction(step.session, tuple(ended[step.session])))
    return found


def judgeable(transactions: Sequence[Transaction]) -> bool:
    """Whether serial execution means anything: SKIP LOCKED asks for answers that no serial order gives."""
    return not any("skip locked" in step.sql for one in transactions for step, _ in one.steps)


def serial_order(case: Case, observed: Observed, *, through_hole: bool = False) -> tuple[str, ...] | None:
    """A serial order of the committed transactions that gives the same answers and the same final rows.

    None where there is none. With `through_hole`, INSERT ... ON CONFLICT DO NOTHING that inserted nothing counts
    as no statement at all, as PostgreSQL's SSI sees it.
    """
    transactions = committed(case, observed)
    if through_hole:
        transactions = [replace(one, steps=tuple(_without_hole(one))) for one in transactions]
    for order in permutations(transactions):
        if _explains(case, order, observed):
            return tuple(one.session for one in order)
    return None


def _without_hole(transaction: Transaction) -> Iterator[tuple[Step, Answer]]:
    for step, answer in transaction.steps:
        if not ("on conflict" in step.sql and answer.tag == "INSERT 0 0"):
            yield step, answer


def _explains(case: Case, order: Sequence[Transaction], observed: Observed) -> bool:
    run = ModelRun(case, Engine("postgres"))
    for transaction in order:
        for step, answer in transaction.steps:
            run.step(step)
            if answer.error not in _OF_CONCURRENCY and not same_answer(step.sql, answer, run.answers[-1]):
                return False
    return same(observed.final, run.finish().final)
