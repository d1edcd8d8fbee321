"""Runs a violated design again, with every step of its first finding written down, and a design that holds beside it.

Runs are deterministic, so the second run is the first one over again; it stops when what is explained is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arbsim.audit import audit
from arbsim.audit.explain import AccountFacts, Asked, asked_of, explained_side, first_finding
from arbsim.audit.judge import money
from arbsim.compare import operation_row
from arbsim.explanation import Explanation, Side
from arbsim.history import History
from arbsim.model import DesignCard, Verdict, Workload
from arbsim.results import DesignResult
from arbsim.worlds.api import Design
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_watched


@dataclass(frozen=True, slots=True)
class Subject:
    """A design that has been run and judged; ``history`` and ``result`` are None for one that has not."""

    design: Design
    card: DesignCard
    history: History | None = None
    result: DesignResult | None = None

    @property
    def is_violated(self) -> bool:
        """Whether it was seen to break."""
        return self.result is not None and self.result.verdict is Verdict.VIOLATED

    @property
    def holds(self) -> bool:
        """Whether it was judged, and not seen to break."""
        return self.result is not None and self.result.verdict in (Verdict.HOLDS, Verdict.NONE_SEEN)


def explain(
    subject: Subject,
    others: Sequence[Subject],
    cures: Mapping[str, Subject],
    workload: Workload,
    settings: Settings,
) -> Explanation | None:
    """Explain the first finding of a violated design; None where it names no operation.

    ``others`` are the designs of the same run. ``cures``: shipped designs by their name in the catalogue, for a
    design whose cure was not run.
    """
    assert subject.result is not None
    assert subject.history is not None
    found = first_finding(subject.result)
    if found is None:
        return None
    kind, witness = found
    asked = asked_of(subject.history, kind, witness)
    if not asked.operations:
        return None
    twin, is_cure = _twin(subject, others, cures, asked, workload, settings)
    return Explanation(
        kind=kind,
        account=witness.account,
        amount=witness.amount,
        store=witness.store,
        witness=witness.operations,
        operations=tuple(operation_row(workload[number]) for number in asked.operations),
        omitted=asked.omitted,
        opening=money(workload.accounts.get(asked.account, 0)),
        broken=_side(subject, subject.history, subject.result.verdict, asked, workload, settings),
        twin=twin,
        is_cure=is_cure,
    )


def _side(
    subject: Subject, history: History, verdict: Verdict, asked: Asked, workload: Workload, settings: Settings
) -> Side:
    """Run again up to where the operations are over."""
    over_ns = AccountFacts(history, asked.account).all_over_ns(asked.operations)
    _, steps = run_watched(subject.design, subject.card, workload, settings, asked.operations, over_ns)
    return explained_side(history, verdict, asked, steps)


def _twin(
    subject: Subject,
    others: Sequence[Subject],
    cures: Mapping[str, Subject],
    asked: Asked,
    workload: Workload,
    settings: Settings,
) -> tuple[Side | None, bool]:
    """The same operations through the cure where there is one, else through another design that holds."""
    cure = subject.card.cure
    held = [one for one in others if one.holds]
    cured = [one for one in held if one.card.design == cure]
    if not cured and cure is not None and cure in cures:
        other = cures[cure]
        history, steps = run_watched(other.design, other.card, workload, settings, asked.operations)
        verdict = audit(history).verdict
        if verdict in (Verdict.HOLDS, Verdict.NONE_SEEN):
            return explained_side(history, verdict, asked, steps), True
    near = sorted(held, key=lambda one: one.card.family != subject.card.family)
    for one in [*cured, *near][:1]:
        assert one.history is not None
        assert one.result is not None
        side = _side(one, one.history, one.result.verdict, asked, workload, settings)
        return side, one.card.design == cure
    return None, False
