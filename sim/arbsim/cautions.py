"""What weakens a pass: warnings, each with an id, what was seen, and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from arbsim.audit.costs import SATURATED, ms
from arbsim.model import VIOLATIONS, FindingKind, Kind, Verdict, Workload
from arbsim.results import Caution, DesignResult

EMPTY = "W301"
NOTHING_ACCEPTED = "W302"
UNDECIDED = "W303"
STOPPED = "W304"
LOWER_BOUND = "W305"
TRAP_HELD = "W306"
NO_CONTENTION = "W307"
SATURATION = "W308"
STALE = "W309"
OTHER_ORDERS = "W310"


def cautions_of(workload: Workload, designs: Mapping[str, DesignResult]) -> tuple[Caution, ...]:
    """All warnings of a run, in order of design."""
    if not len(workload):
        text = "the workload has no operations, so nothing was tested"
        return (Caution(id=EMPTY, design=None, text=text, next_step="Add operations to the workload."),)
    advice = _how_to_meet(workload)
    count = len(workload)
    return tuple(
        Caution(id=name, design=design, text=text, next_step=next_step)
        for design, result in designs.items()
        for name, text, next_step in (
            *_of_evidence(result, advice, count),
            *_of_notes(result),
            *_of_findings(result),
        )
    )


def _of_evidence(result: DesignResult, advice: str, operations: int) -> Iterator[tuple[str, str, str]]:
    if "no-contention" in result.reasons:
        yield (
            NO_CONTENTION,
            "no two operations met on an account, so a run without findings proves nothing",
            advice,
        )
    if not result.outcomes.accepted:
        ends = result.outcomes
        text = (
            f"nothing was accepted ({ends.rejected} rejected, {ends.failed} failed, {ends.unknown} unknown)"
        )
        yield NOTHING_ACCEPTED, text, "Give the accounts more money, or look at why the operations failed."
    if "undecided-outcomes" in result.reasons:
        text = f"whether an account was overdrawn depends on the {result.outcomes.unknown} unknown outcomes"
        yield UNDECIDED, text, "Give the clients more time to learn their outcomes."
    found = result.evidence.every_order
    if found is not None and found.violating_classes:
        kinds = ", ".join(kind.value.replace("_", " ") for kind in found.broken)
        text = f"the run violates nothing, but other orders of the same operations do: {kinds}"
        step = (
            f"arbsim explore --operations {operations} shows the shortest; nothing but delays stands between."
        )
        yield OTHER_ORDERS, text, step
    if not set(VIOLATIONS) <= set(result.claims):
        if result.verdict is Verdict.NONE_SEEN:
            text = "a trap held: no violation was seen, though the design does not claim to prevent them all"
            step = "Let more operations meet on fewer accounts; this run does not make it safe."
            yield TRAP_HELD, text, step
        if result.verdict is Verdict.HOLDS:
            text = "a trap held in every order of these operations, though it does not claim to prevent everything"
            step = "Look for what stopped it, such as a CHECK; with other operations it may break."
            yield TRAP_HELD, text, step


def _of_notes(result: DesignResult) -> Iterator[tuple[str, str, str]]:
    for note in result.notes:
        if note.startswith(SATURATED):
            step = (
                "Offer fewer operations a second, or spread them over more accounts: latencies show a queue."
            )
            yield SATURATION, note, step
        else:
            yield STOPPED, note, "Offer fewer operations a second, or look for what never answers."


def _of_findings(result: DesignResult) -> Iterator[tuple[str, str, str]]:
    if not result.findings[FindingKind.OVERDRAFT].exact:
        text = "the count of overdrafts is a lower bound: with many transfers not all orders are tried"
        yield LOWER_BOUND, text, "Use fewer transfers, or withdrawals and deposits, to have it exact."
    if not result.findings[FindingKind.OVERDRAFT_OWN_ORDER].exact:
        text = "overdrafts in the design's own order are not counted: offsets do not order transfers"
        yield LOWER_BOUND, text, "Use withdrawals and deposits to have it judged."
    stale = result.findings[FindingKind.STALE_READ].count
    if stale and not result.fresh_reads:
        text = (
            f"reads that missed what was acknowledged before: {stale}; the design does not claim fresh reads"
        )
        yield STALE, text, "Read where the decisions are made, if reads must be fresh."


def _how_to_meet(workload: Workload) -> str:
    """What to change in the workload so that operations meet."""
    closest: int | None = None
    for operations in workload.by_account.values():
        changes = [op for op in operations if op.kind is not Kind.READ]
        for one, other in pairwise(changes):
            gap = other.at_ns - one.at_ns
            closest = gap if closest is None else min(closest, gap)
    if closest is None:
        return "No account is changed twice: use fewer accounts, or more operations."
    return f"Changes of one account begin at least {ms(closest)} ms apart: let them begin closer together."
