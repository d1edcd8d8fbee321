"""Runs a violated design again, with every step of its first finding written down, and a design that holds beside it.

Runs are deterministic, so the second run is the first one over again; it stops when what is explained is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from arbsim.audit.explain import AccountFacts, Asked, asked_of, explained_side, first_finding
from arbsim.audit.judge import money
from arbsim.compare import operation_row
from arbsim.explanation import Explanation, Side
from arbsim.history import History
from arbsim.model import Verdict, Workload
from arbsim.results import DesignResult
from arbsim.worlds.api import Design
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_watched


@dataclass(frozen=True, slots=True)
class Subject:
    """A design that has been run and judged."""

    design: Design
    history: History
    result: DesignResult

    @property
    def holds(self) -> bool:
        """Whether it was not seen to break."""
        return self.result.verdict in (Verdict.HOLDS, Verdict.NONE_SEEN)


def explain(
    subject: Subject, others: Iterable[Subject], workload: Workload, settings: Settings
) -> Explanation | None:
    """Explain the first finding of a violated design; None where it names no operation.

    Beside it stands the first of the ``others`` that holds. Those behind that one are not asked for.
    """
    found = first_finding(subject.result)
    if found is None:
        return None
    kind, witness = found
    asked = asked_of(subject.history, kind, witness)
    if not asked.operations:
        return None
    twin = next((other for other in others if other.holds), None)
    return Explanation(
        kind=kind,
        account=witness.account,
        amount=witness.amount,
        store=witness.store,
        witness=witness.operations,
        operations=tuple(operation_row(workload[number]) for number in asked.operations),
        omitted=asked.omitted,
        opening=money(workload.accounts.get(asked.account, 0)),
        broken=_side(subject, asked, workload, settings),
        twin=None if twin is None else _side(twin, asked, workload, settings),
        is_cure=twin is not None and twin.history.card.design == subject.history.card.cure,
    )


def _side(subject: Subject, asked: Asked, workload: Workload, settings: Settings) -> Side:
    """Run again up to where the operations are over."""
    history = subject.history
    over_ns = AccountFacts(history, asked.account).all_over_ns(asked.operations)
    _, steps = run_watched(subject.design, history.card, workload, settings, asked.operations, over_ns)
    return explained_side(history, subject.result.verdict, asked, steps)
